"""`rangeseg show perturbation`: the effect of a config's perturbation on two of its scans or photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, nn

from rangeseg.catalog import PERTURBATIONS
from rangeseg.config import Config, read_config
from rangeseg.config.shipped import shipped_configs
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.run import Run
from rangeseg.registry import ConfigError, Trust, did_you_mean
from rangeseg.teacher import NetworkTeacher, pseudo_labels, with_labels
from rangeseg.types import IGNORE, PseudoLabelled, View
from rangeseg.vis.perturbation import perturbation_panels
from rangeseg.vis.png import write_png

SURE = 0.95
"""Probability of the labelled class if the labels are the targets."""


def show_perturbations(
    names: Sequence[str],
    png: Path,
    *,
    config: str | Path | None = None,
    run: Path | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> list[Path]:
    """Draw perturbations of two scans or photographs, one picture for each name.

    Args:
        names: keys of `PERTURBATIONS`; ``module:Class``; names of shipped configs (``lasermix_grid``), on top of
            `config`; or config files, with their own data.
        png: the picture; with several names, the folder with one picture for each.
        config: config of the data for names that are not config files; default: `mini_kitti`.
        run: run whose predictions are the targets; default: the labels are the targets.
        seed: seed of the perturbations.
        overrides: `key.path=value` entries that override every config.
        trust: see `Run.load`.

    Returns:
        The files of the pictures.

    Raises:
        ConfigError: an unknown name, two pictures with the same name, or a config that does not fit its data.
    """
    files = [name if name in PERTURBATIONS else Path(name).stem for name in names]
    if twice := sorted({file for file in files if files.count(file) > 1}):
        raise ConfigError(
            f"Several pictures would have the name {twice[0]}.png. Draw them separately, each with its own name."
        )
    loaded = Run.load(run, device="cpu", trust=trust) if run else None
    targets = run.name if run else "labels"
    written = []
    for name, chosen in _configs(names, config or "mini_kitti", overrides):
        path = png if len(names) == 1 else png / f"{name}.png"
        write_png(path, _draw(name, chosen, loaded, targets, seed))
        written.append(path)
    return written


def _configs(names: Sequence[str], config: str | Path, overrides: Sequence[str]) -> Iterator[tuple[str, Config]]:
    for name in names:
        if name in PERTURBATIONS or ":" in name:
            yield name, read_config(config, [f"perturbation.name={name}", "runtime.out=.", *overrides])
        elif Path(name).is_file():
            yield Path(name).stem, read_config(name, ["runtime.out=.", *overrides])
        elif any(shipped.endswith(f"/{name}") for shipped in shipped_configs()):
            yield name, read_config(f"{config}+{name}", ["runtime.out=.", *overrides])
        else:
            raise ConfigError(
                f"{name!r} is neither a perturbation nor a config. {did_you_mean(name, list(PERTURBATIONS))}"
            )


def _draw(name: str, config: Config, loaded: Run | None, source_of_targets: str, seed: int) -> np.ndarray:
    """Draw the perturbation of the first view of the split and one from its middle, usually of another scene."""
    experiment = Experiment(config)
    source = experiment.open("train")
    views = experiment.views(source, stride=loaded.network.stride if loaded else (1, 1))
    a, b = (View.stack([views.sample(index).view]) for index in (0, len(views) // 2))
    label_map = source.label_map
    if loaded:
        network: nn.Module = loaded.network
        targets = pseudo_labels(NetworkTeacher(network), a, b)
    else:
        network = untrained_network(a, label_map.num_classes)
        targets = [label_targets(view, label_map.num_classes) for view in (a, b)]
    if config.consistency.pair == "labelled":  # the first of the pair is labelled
        targets[0] = replace(targets[0], target=with_labels(targets[0].target, a))
    perturbation = experiment.perturbation.with_network(network)
    made = perturbation(Generator().manual_seed(seed), *targets)
    title = f"{name} (targets: {source_of_targets})"
    made = replace(made, image=made.image.detach())
    return perturbation_panels(a, b, made, channels=experiment.channels, label_map=label_map, title=title)


def untrained_network(view: View, classes: int) -> nn.Module:
    """A small untrained network, for perturbations that need a network if no run is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(view.image.shape[1], classes, 5, padding=2).requires_grad_(False)


def label_targets(view: View, classes: int) -> PseudoLabelled:
    """The labels as targets: `SURE` for the labelled class; nearly equal probabilities for pixels without a label."""
    flat = torch.full((len(view.label), classes, *view.label.shape[1:]), 1 / classes)
    flat[:, -1] += 1e-6  # the argmax of pixels without a label is not the first class, often a thing
    known = (view.label != IGNORE)[:, None]
    rest = torch.full_like(flat, (1 - SURE) / (classes - 1))
    target = torch.where(known, rest.scatter(1, view.label[:, None].where(known, 0), SURE), flat)
    return PseudoLabelled(view.image, target, None, view.valid)
