"""`rangeseg recipe NAME`: training in stages, each a config that starts from the last.

    streets       synthetic scans with labels
    pretrain      supervised on them
    labelled      supervised on the real labelled scans (kitti)                     starts from pretrain
    teacher       mean teacher with CutMix on unlabelled scans, warm_teacher.yaml   starts from labelled, or pretrain
    pseudo1       pseudo-labels of the unlabelled scans by teacher, balanced over classes and ranges
    round1        supervised on true and pseudo-labels                              starts from pretrain
    pseudo2, ...  the same, by the round before

OUT/streets, OUT/gathered      scans, in SemanticKITTI's layout
OUT/STAGE                      run folders and pseudo-labels
OUT/done/STAGE.json, OUT/logs  what is done, and what it printed
OUT/budget.json                steps that fit into the hours
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.apps.speed import seconds_per_step
from rangeseg.apps.steps import Step
from rangeseg.config import Config, read_config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.files import walk, write_atomically
from rangeseg.resources import resource
from rangeseg.scan_io import READERS, read_scan

STEPS = {"pretrain": 20000, "labelled": 1800, "teacher": 6000, "round": 6000}
RATES = {"pretrain": "5e-3", "labelled": "2e-3", "teacher": "1e-3", "round": "2e-3"}
"""Of each kind of training: steps and largest learning rate."""

TRAINING_SHARE = 0.85
"""Of a budget's hours; the rest is for pseudo-labels, scores and starts."""

FEWEST = 20
"""Steps of a stage, whatever the budget."""

RECIPES = {"kitti": ("recipe/kitti", "hdl64e"), "any-lidar": ("recipe/any_lidar", "random")}
"""Name -> config, and sensor of the streets."""


@dataclass(frozen=True)
class Recipe:
    """What is to be done.

    Args:
        name: of `RECIPES`.
        out: everything goes here.
        real: SemanticKITTI's folder, or part of it (kitti).
        labelled: its labelled scans: a list, or all of its training split.
        unlabelled: folders of further scans, in any format.
        rounds: of pseudo-labels.
        scans: synthetic ones, of each of ten sequences.
        overrides: further `key.path=value` for every training.

    Raises:
        ValueError: what the recipe needs is not given.
    """

    name: str
    out: Path
    real: Path | None = None
    labelled: str = "all"
    unlabelled: tuple[Path, ...] = ()
    rounds: int = 2
    scans: int = 400
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name == "kitti" and self.real is None:
            raise ValueError("The recipe kitti needs real labelled scans: give --real, SemanticKITTI's folder.")
        if self.name == "any-lidar" and (self.real is not None or not self.unlabelled):
            raise ValueError(
                "The recipe any-lidar has no real labels: give --unlabelled with folders of scans, no --real."
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Where unlabelled scans are: real, gathered."""
        real = ("real",) if self.real is not None and self.labelled != "all" else ()
        return real + (("gathered",) if self.unlabelled else ())

    def steps(self, lengths: Mapping[str, int] = STEPS) -> list[Step]:
        """All stages in order.

        Args:
            lengths: kind of training -> its steps.
        """
        streets = ("--out", str(self.out / "streets"), "--sensor", RECIPES[self.name][1], "--keep")
        drive = ("--scans-per-street", "4", "--spacing-m", "10", "--scans", str(self.scans))
        sequences = ("--sequences", *_sequences(), "08")
        found = [
            self._step("streets", ("synthesise", *streets, *drive, *sequences)),
            self._train("pretrain", "supervised", self._streets(), "", lengths),
        ]
        last = "pretrain"
        if self.real is not None:
            found.append(self._train("labelled", "supervised", self._labelled(), last, lengths))
            last = "labelled"
        found.append(self._train("teacher", "warm_teacher+cutmix", self._unlabelled(), last, lengths))
        last = "teacher"
        for number in range(1, self.rounds + 1) if self.sources else ():
            found += [self._pseudo(f"pseudo{number}", last, source) for source in self.sources]
            last = f"round{number}"
            found.append(self._train(last, "supervised", self._pseudo_labelled(number), "pretrain", lengths))
        return found

    def _streets(self) -> tuple[str, ...]:
        if self.real is None:
            return (f"data.root={self.out / 'streets'}", "data.labelled=all")
        streets = f"{{root: {self.out / 'streets'}, dataset: {{name: semantic_kitti}}}}"
        return (f"data.root={self.real}", "data.labelled=none", f"data.labelled_from=[{streets}]")

    def _labelled(self) -> tuple[str, ...]:
        """All true labels that are not to be forgotten: the real ones, or where there are none the streets'."""
        return (f"data.root={self.real}", f"data.labelled={self.labelled}") if self.real else self._streets()

    def _unlabelled(self) -> tuple[str, ...]:
        gathered = (
            f"[{{root: {self.out / 'gathered'}, dataset: {{name: semantic_kitti}}}}]" if self.unlabelled else "[]"
        )
        own = "all" if self.real is not None else "none"
        return (*self._labelled(), f"data.unlabelled={own}", f"data.unlabelled_from={gathered}")

    def _pseudo_labelled(self, number: int) -> tuple[str, ...]:
        parts = []
        for source in self.sources:
            folder = self.out / f"pseudo{number}" / source
            dataset = f"{{name: semantic_kitti, labels_from: {folder}}}"
            parts.append(f"{{root: {self._root(source)}, dataset: {dataset}, subset: {folder / 'scans.txt'}}}")
        return (*self._labelled(), f"data.labelled_from=[{', '.join(parts)}]")

    def _root(self, source: str) -> Path | None:
        return self.real if source == "real" else self.out / "gathered"

    def _pseudo(self, name: str, run: str, source: str) -> Step:
        out = ("--out", str(self.out / name / source))
        leave = ("--leave-out", str(_list_file(self.labelled))) if source == "real" else ()
        words = ("pseudo-label", str(self.out / run), *out, *leave, f"data.root={self._root(source)}")
        return self._step(f"{name}_{source}", words)

    def _train(self, name: str, method: str, data: tuple[str, ...], start: str, lengths: Mapping[str, int]) -> Step:
        kind = name.rstrip("0123456789")
        begin = (f"runtime.initialise_from={self.out / start}",) if start else ()
        keys = (f"optim.steps={lengths[kind]}", f"optim.lr={RATES[kind]}", f"runtime.out={self.out / name}")
        words = ("train", f"{RECIPES[self.name][0]}+{method}", *data, *keys, *begin, *self.overrides)
        return self._step(name, (*words, "--resume", "auto"))

    def _step(self, name: str, words: tuple[str, ...]) -> Step:
        return Step(name, words, self.out / "done" / f"{name}.json", self.out / "logs" / f"{name}.log")


def choose(steps: Sequence[Step], stages: Sequence[str]) -> list[Step]:
    """The steps of some stages.

    Args:
        steps: of a recipe.
        stages: their names; none for all.

    Raises:
        ValueError: there is no such stage.
    """
    names = [step.name.partition("_")[0] for step in steps]
    if unknown := [stage for stage in stages if stage not in names]:
        known = ", ".join(dict.fromkeys(names))
        raise ValueError(f"{unknown[0]!r} is no stage of this recipe with these scans. Its stages are {known}.")
    return [step for step, name in zip(steps, names, strict=True) if not stages or name in stages]


def gather(recipe: Recipe) -> Iterator[Path]:
    """Write the further scans in SemanticKITTI's layout, those that are not there yet; a sequence for each folder.

    Args:
        recipe: names their folders.

    Yields:
        Each scan's new file.

    Raises:
        ValueError: a folder has no scans, or there are more folders than sequences.
    """
    sequences = _sequences()
    if len(recipe.unlabelled) > len(sequences):
        raise ValueError(f"--unlabelled takes up to {len(sequences)} folders; put several into one.")
    for sequence, folder in zip(sequences, recipe.unlabelled, strict=False):
        numbers = count()
        for path in sorted(path for path in walk(folder) if path.suffix.lower() in READERS):
            place = recipe.out / "gathered" / "sequences" / sequence / "velodyne" / f"{next(numbers):06d}.bin"
            if not place.is_file():
                scan = read_scan(path)
                remission = np.zeros(len(scan)) if scan.remission is None else scan.remission
                columns = np.column_stack([scan.xyz, remission]).astype("<f4")
                write_atomically(place, columns.tobytes())
            yield place
        if next(numbers) == 0:
            raise ValueError(f"{folder}: holds no scans. Give folders with files of {', '.join(sorted(READERS))}.")


def lengths_within(recipe: Recipe, hours: float) -> dict[str, int]:
    """Steps of each kind of training that fit into the hours, by the speed of a few steps of each on this machine.

    Args:
        recipe: its streets must be there. A round is timed as the supervised training before it, which reads as much.
        hours: for all of it; kept in OUT/budget.json, which a later call reads again.

    Raises:
        ValueError: no hours.
    """
    if (known := known_lengths(recipe, hours)) is not None:
        return known
    if not hours > 0:
        raise ValueError(f"--budget is {hours}; give hours above 0.")
    steps = [step for step in recipe.steps() if step.words[0] == "train"]
    seconds = {step.name: seconds_per_step(_from_nothing(step)) for step in steps if not step.name.startswith("round")}
    seconds |= {step.name: seconds.get("labelled", seconds["pretrain"]) for step in steps if step.name not in seconds}
    whole = sum(STEPS[step.name.rstrip("0123456789")] * seconds[step.name] for step in steps)
    factor = TRAINING_SHARE * hours * 3600 / whole
    lengths = {kind: max(FEWEST, round(factor * number)) for kind, number in STEPS.items()}
    kept = {"hours": hours, "steps": lengths, "seconds_per_step": seconds}
    write_atomically(recipe.out / "budget.json", json.dumps(kept, indent=1).encode())
    return lengths


def known_lengths(recipe: Recipe, hours: float | None) -> dict[str, int] | None:
    """The steps that an earlier call found for these hours; without hours the usual ones, None where there are none."""
    if hours is None:
        return STEPS
    path = recipe.out / "budget.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return dict(kept["steps"]) if kept.get("hours") == hours else None


def summary(recipe: Recipe, steps: Sequence[Step]) -> str:
    """The score of each finished stage, as Markdown.

    Args:
        recipe: of the run folders.
        steps: of the recipe.
    """
    lines = ["| stage | mIoU % | accuracy % |", "| --- | ---: | ---: |"]
    for step in steps:
        if (path := recipe.out / step.name / "evaluation.json").is_file():
            report = json.loads(path.read_text())
            lines.append(f"| {step.name} | {100 * report['mean_iou']:.1f} | {100 * report['accuracy']:.1f} |")
    scored = "synthetic streets of sequence 08" if recipe.real is None else "sequence 08 of the real scans"
    return "\n".join([*lines, "", f"Scored on every point of the {scored}, last checkpoints."]) + "\n"


def _from_nothing(step: Step) -> Config:
    """The config of a training, without the run that it starts from."""
    words, *overrides = step.words[1:-2]
    return read_config(words, [one for one in overrides if not one.startswith("runtime.initialise_from=")])


def _sequences() -> tuple[str, ...]:
    return tuple(SemanticKitti.read_label_map().splits["train"])


def _list_file(name: str) -> Path:
    """As `data.labelled` finds it: a file, or a shipped list."""
    return Path(name) if Path(name).is_file() else resource("datasets", "semantic_kitti", "splits", f"{name}.txt")
