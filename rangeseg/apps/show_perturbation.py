"""`rangeseg show perturbation`: what a config's perturbation does to two of its scans or photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from rangeseg.catalog import PERTURBATIONS
from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import make_channels, make_perturbation, make_views, open_source, stride_of
from rangeseg.inference.run import Run
from rangeseg.perturbations import Teacher
from rangeseg.registry import ConfigError, did_you_mean
from rangeseg.resources import resource
from rangeseg.teacher import NetworkTeacher
from rangeseg.types import IGNORE, View
from rangeseg.vis.perturbation import perturbation_panels
from rangeseg.vis.png import write_png


class LabelTeacher:
    """A teacher that knows the labels of the views it will be asked about, and is almost sure of them.

    Args:
        views: what it knows, each with a leading axis; views it does not know are answered with no preference.
        classes: K.
        sure: the probability of the label.
    """

    def __init__(self, views: Sequence[View], classes: int, sure: float = 0.95) -> None:
        self.known = [(view.image[i], view.label[i]) for view in views for i in range(len(view.label))]
        self.classes, self.sure = classes, sure
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network: nn.Module = nn.Conv2d(views[0].image.shape[1], classes, 5, padding=2).requires_grad_(False)

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) probabilities."""
        return torch.stack([self._answer(one) for one in image])

    def logits(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        return self(image).log()

    def _answer(self, image: Tensor) -> Tensor:
        flat = torch.full((self.classes, *image.shape[1:]), 1 / self.classes)
        flat[-1] += 1e-6  # so that what has no label is not taken for the first class, often a thing
        for known, label in self.known:
            if torch.equal(known, image):
                there = (label != IGNORE)[None]
                rest = torch.full_like(flat, (1 - self.sure) / (self.classes - 1))
                return torch.where(there, rest.scatter(0, label.where(there[0], 0)[None], self.sure), flat)
        return flat


def show_perturbations(
    names: Sequence[str],
    png: Path,
    *,
    config: Path | None = None,
    run: Path | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> list[Path]:
    """Draw perturbations.

    Args:
        names: keys of `PERTURBATIONS`, ``module:Class``, or config files: their `perturbation` on their own data.
        png: the picture; with several names, the folder that holds one for each.
        config: whose data names are drawn on; the small SemanticKITTI's if not given.
        run: a run whose teacher answers; the labels themselves answer if not given.
        seed: of the drawing.
        overrides: `key.path=value` above every config.

    Returns:
        The pictures' files.

    Raises:
        ConfigError: an unknown name, two pictures of one name, or a config that does not fit its data.
    """
    files = [name if name in PERTURBATIONS else Path(name).stem for name in names]
    if twice := sorted({file for file in files if files.count(file) > 1}):
        raise ConfigError(
            f"Several pictures would be called {twice[0]}.png. Draw them one by one, to names of their own."
        )
    written = []
    for name, experiment in _experiments(names, config or resource("configs", "mini_kitti") / "base.yaml", overrides):
        path = png if len(names) == 1 else png / f"{name}.png"
        write_png(path, _draw(name, experiment, run, seed))
        written.append(path)
    return written


def _experiments(names: Sequence[str], config: Path, overrides: Sequence[str]) -> Iterator[tuple[str, Config]]:
    for name in names:
        if name in PERTURBATIONS or ":" in name:
            yield name, read_config(config, [f"perturbation.name={name}", "runtime.out=.", *overrides])
        elif Path(name).is_file():
            yield Path(name).stem, read_config(name, ["runtime.out=.", *overrides])
        else:
            raise ConfigError(
                f"{name!r} is neither a perturbation nor a config. {did_you_mean(name, list(PERTURBATIONS))}"
            )


def _draw(name: str, config: Config, run: Path | None, seed: int) -> np.ndarray:
    """Two views of different scenes, the second from halfway through the split."""
    source = open_source(config, "train")
    loaded = Run.load(run, device="cpu") if run else None
    views = make_views(config, source, stride=stride_of(loaded.network) if loaded else (1, 1))
    a, b = (View.stack([views.sample(index).view]) for index in (0, len(views) // 2))
    label_map = source.label_map
    teacher: Teacher = NetworkTeacher(loaded.network) if loaded else LabelTeacher([a, b], label_map.num_classes)
    perturbation = make_perturbation(config)
    # Labels are an answer only to a perturbation that mixes labelled views in.
    hidden = View(b.image, b.valid, torch.full_like(b.label, IGNORE))
    made = perturbation(Generator().manual_seed(seed), a, hidden, _no_student, teacher)
    title = f"{name} ({run.name if run else 'labels'} for a teacher)"
    made = replace(made, image=made.image.detach())
    return perturbation_panels(a, b, made, channels=make_channels(config), label_map=label_map, title=title)


def _no_student(image: Tensor) -> Tensor:
    raise ConfigError("This perturbation asks the student, and there is none to draw with.")
