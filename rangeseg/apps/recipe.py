"""`rangeseg recipe NAME` trains in stages. Each stage starts from an earlier one.

    streets       write synthetic scans with labels
    pretrain      train on them, supervised
    labelled      kitti: train on real labelled scans and streets, half each, rangeformer.yaml      starts from pretrain
    teacher       mean teacher (see RECIPES) on unlabelled scans, warm_teacher.yaml      starts from labelled, pretrain
    pseudo1       write pseudo-labels of the unlabelled scans, predicted by teacher, balanced over classes and ranges
    round1        train on true labels and pseudo-labels, supervised               starts from pretrain
    pseudo2, ...  the same again; the previous round predicts the pseudo-labels

OUT/streets, OUT/gathered      scans in SemanticKITTI's layout
OUT/STAGE                      run folders and pseudo-labels
OUT/done/STAGE.json            the finished stages
OUT/logs/STAGE.log             the output of each stage
OUT/budget.json                the steps that fit into the hours
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rangeseg.apps.gathered import own_poses, sequences
from rangeseg.apps.speed import seconds_per_step
from rangeseg.apps.steps import Step, refuse_own_keys, trust_of
from rangeseg.config import Config, read_config
from rangeseg.config.overrides import quoted
from rangeseg.files import write_atomically
from rangeseg.resources import resource

STEPS = {"pretrain": 20000, "labelled": 1800, "teacher": 6000, "round": 6000}
RATES = {"pretrain": "5e-3", "labelled": "2e-3", "teacher": "1e-3", "round": "2e-3"}
"""The steps and the largest learning rate of each kind of training."""

STREETS_SHARE = 0.5
"""The share of the labelled views that come from synthetic streets while a recipe trains on real labels."""

TRAINING_SHARE = 0.85
"""The share of a budget's hours for training. Pseudo-labels, scores and starts take the rest."""

FEWEST = 20
"""The smallest number of steps of a stage, for any budget."""

RECIPES = {
    "kitti": ("recipe/kitti", "hdl64e", "warm_teacher+cutmix"),
    "any-lidar": ("recipe/any_lidar", "random", "warm_teacher+labelled_pairs+lasermix"),
}
"""The config, the sensor of the streets and the method of the stage `teacher`, by the recipe's name."""

OWN = {
    "runtime.out": "--out",
    "runtime.initialise_from": "the recipe without it: each stage starts from an earlier one",
    "data.root": "--real or --unlabelled",
    **dict.fromkeys(("data.labelled", "data.labelled_from"), "--labelled"),
    **dict.fromkeys(("data.unlabelled", "data.unlabelled_from"), "--unlabelled"),
}
"""Key that each training has for itself -> what to use in place of an override."""


@dataclass(frozen=True)
class Recipe:
    """A recipe and its data.

    Args:
        name: a key of `RECIPES`.
        out: the folder of all results.
        real: SemanticKITTI's folder, or a part of it (kitti).
        labelled: the list of its labelled scans, or ``all``: the whole training split.
        unlabelled: folders of further scans in any format.
        rounds: number of rounds of pseudo-labels.
        scans: number of synthetic scans in each of eleven sequences, those of train and 08.
        overrides: `key.path=value` for every training.
        votes: number of scans before and after each scan whose probabilities are pooled for pseudo-labels. 0: no
            pooling. If some scans of a source have no pose, nothing is pooled for this source.

    Raises:
        ValueError: an argument that the recipe needs is missing or has no effect, the list does not exist, a number is
            negative, or an override is a key of `OWN`.
    """

    name: str
    out: Path
    real: Path | None = None
    labelled: str = "all"
    unlabelled: tuple[Path, ...] = ()
    rounds: int = 0
    scans: int = 400
    overrides: tuple[str, ...] = ()
    votes: int = 2

    def __post_init__(self) -> None:
        refuse_own_keys(self.overrides, OWN)
        if self.name == "kitti" and self.real is None:
            raise ValueError("The recipe kitti needs real labelled scans. Give SemanticKITTI's folder with --real.")
        if self.name == "any-lidar" and (self.real is not None or not self.unlabelled):
            raise ValueError("any-lidar uses no real labels. Give folders of scans with --unlabelled, and no --real.")
        if self.real is None and self.labelled != "all":
            raise ValueError(f"--labelled is {self.labelled}, but any-lidar uses no real labels. Leave it out.")
        if self.labelled not in ("all", "with_labels"):
            _list_file(self.labelled)  # an error before hours of training
        for option, number, least in (("rounds", self.rounds, 0), ("scans", self.scans, 1), ("votes", self.votes, 0)):
            if number < least:
                raise ValueError(f"--{option} is {number}. Give {least} or more.")

    @property
    def sources(self) -> tuple[str, ...]:
        """The places of unlabelled scans: real, gathered."""
        real = ("real",) if self.real is not None and self.labelled != "all" else ()
        return real + (("gathered",) if self.unlabelled else ())

    def steps(self, lengths: Mapping[str, int] = STEPS) -> list[Step]:
        """All stages in order.

        Args:
            lengths: the number of steps of each kind of training.

        Raises:
            ValueError: the file of a drive's poses is damaged.
        """
        streets = ("--out", str(self.out / "streets"), "--sensor", RECIPES[self.name][1], "--keep")
        drive = ("--scans-per-street", "4", "--spacing-m", "10", "--scans", str(self.scans))
        found = [
            self._step("streets", ("synthesise", *streets, *drive, "--sequences", *sequences(), "08")),
            self._train("pretrain", "supervised", self._streets(), "", lengths),
        ]
        last = "pretrain"
        if self.real is not None:
            found.append(self._train("labelled", "supervised+rangeformer", self._labelled(), last, lengths))
            last = "labelled"
        found.append(self._train("teacher", RECIPES[self.name][2], self._unlabelled(), last, lengths))
        last = "teacher"
        for number in range(1, self.rounds + 1) if self.sources else ():
            found += [self._pseudo(f"pseudo{number}", last, source) for source in self.sources]
            last = f"round{number}"
            found.append(self._train(last, "supervised", self._pseudo_labelled(number), "pretrain", lengths))
        return found

    def _streets(self) -> tuple[str, ...]:
        if self.real is None:
            return (f"data.root={self.out / 'streets'}", "data.labelled=all")
        streets = f"{{root: {quoted(self.out / 'streets')}, dataset: {{name: semantic_kitti}}}}"
        return (f"data.root={self.real}", "data.labelled=none", f"data.labelled_from=[{streets}]")

    def _labelled(self, *further: str) -> tuple[str, ...]:
        """The labelled scans of all later stages: the real ones, streets for a share of the views, and `further`.

        Without streets, a network forgets the classes that few real scans have.
        """
        streets = f"{{root: {quoted(self.out / 'streets')}, dataset: {{name: semantic_kitti}}, share: {STREETS_SHARE}}}"
        if self.real is None:
            return (*self._streets(), f"data.labelled_from=[{', '.join(further)}]")
        named = (f"data.root={self.real}", f"data.labelled={self.labelled}")
        return (*named, f"data.labelled_from=[{', '.join((streets, *further))}]")

    def _unlabelled(self) -> tuple[str, ...]:
        gathered = f"{{root: {quoted(self.out / 'gathered')}, dataset: {{name: semantic_kitti}}}}"
        gathered = f"[{gathered if self.unlabelled else ''}]"
        own = "all" if self.real is not None else "none"
        return (*self._labelled(), f"data.unlabelled={own}", f"data.unlabelled_from={gathered}")

    def _pseudo_labelled(self, number: int) -> tuple[str, ...]:
        parts = []
        for source in self.sources:
            folder = self.out / f"pseudo{number}" / source
            dataset = f"{{name: semantic_kitti, labels_from: {quoted(folder)}}}"
            subset = quoted(folder / "scans.txt")
            parts.append(f"{{root: {quoted(self._root(source))}, dataset: {dataset}, subset: {subset}}}")
        return self._labelled(*parts)

    def _root(self, source: str) -> Path | None:
        return self.real if source == "real" else self.out / "gathered"

    def _has_poses(self, source: str) -> bool:
        """Whether every scan of a source has a pose."""
        drives = self.unlabelled
        if source == "real" and self.real is not None:
            folders = [self.real / "sequences" / name for name in sequences()]
            drives = tuple(folder for folder in folders if folder.is_dir())
        return bool(drives) and all(own_poses(drive) is not None for drive in drives)

    def _pseudo(self, name: str, run: str, source: str) -> Step:
        out = ("--out", str(self.out / name / source))
        leave: tuple[str, ...] = ("--leave-out", "none")
        if source == "real":  # with_labels: those of the run, which is the default
            leave = () if self.labelled == "with_labels" else ("--leave-out", str(_list_file(self.labelled)))
        votes = ("--votes", str(self.votes)) if self.votes and self._has_poses(source) else ()
        keys = (*self.overrides, "data.root=.", "runtime.out=.")
        trust = trust_of(read_config(RECIPES[self.name][0], keys)) if self.overrides else ()
        words = ("pseudo-label", str(self.out / run), *out, *leave, *votes, *trust, f"data.root={self._root(source)}")
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
        stages: names of stages; empty: all.

    Raises:
        ValueError: the recipe has no such stage.
    """
    names = [step.name.partition("_")[0] for step in steps]
    if unknown := [stage for stage in stages if stage not in names]:
        known = ", ".join(dict.fromkeys(names))
        raise ValueError(f"This recipe has no stage {unknown[0]!r} with these scans. Its stages are {known}.")
    return [step for step, name in zip(steps, names, strict=True) if not stages or name in stages]


def lengths_within(recipe: Recipe, hours: float) -> dict[str, int]:
    """The steps of each kind of training that fit into the hours.

    A few steps of each kind are timed on this machine. A step of a round is assumed to take as long as one of the
    supervised training before it, which reads as much data. OUT/budget.json stores the result, and later calls with the
    same hours, stages and overrides read it.

    Args:
        recipe: its streets must exist.
        hours: for the whole recipe.

    Raises:
        ValueError: the hours are not above 0.
    """
    if (known := known_lengths(recipe, hours)) is not None:
        return known
    steps = [step for step in recipe.steps() if step.words[0] == "train"]
    seconds = {step.name: seconds_per_step(_from_nothing(step)) for step in steps if not step.name.startswith("round")}
    seconds |= {step.name: seconds.get("labelled", seconds["pretrain"]) for step in steps if step.name not in seconds}
    whole = sum(STEPS[step.name.rstrip("0123456789")] * seconds[step.name] for step in steps)
    factor = TRAINING_SHARE * hours * 3600 / whole
    lengths = {kind: max(FEWEST, round(factor * number)) for kind, number in STEPS.items()}
    kept: dict[str, Any] = {"hours": hours, "stages": [step.name for step in steps], "overrides": [*recipe.overrides]}
    kept |= {"steps": lengths, "seconds_per_step": seconds}
    write_atomically(recipe.out / "budget.json", json.dumps(kept, indent=1).encode())
    return lengths


def known_lengths(recipe: Recipe, hours: float | None) -> dict[str, int] | None:
    """The steps that an earlier call found for these hours, stages and overrides, or None. Without hours: `STEPS`.

    Raises:
        ValueError: the hours are not above 0 or infinite, or an override sets the number of steps.
    """
    if hours is None:
        return STEPS
    if not 0 < hours < float("inf"):
        raise ValueError(f"--budget is {hours}. Give a number of hours above 0.")
    refuse_own_keys(recipe.overrides, {"optim.steps": "either it or --budget"})
    path = recipe.out / "budget.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    stages = [step.name for step in recipe.steps() if step.words[0] == "train"]
    wanted = [*recipe.overrides]
    found = (kept.get("hours"), kept.get("stages"), kept.get("overrides", wanted))  # not in files of version 0.1
    return dict(kept["steps"]) if found == (hours, stages, wanted) else None


def summary(recipe: Recipe, steps: Sequence[Step]) -> str:
    """A table of the scores of all finished stages, in Markdown.

    Args:
        recipe: its run folders hold the scores.
        steps: the steps of the recipe.
    """
    lines = ["| stage | mIoU % | accuracy % |", "| --- | ---: | ---: |"]
    for step in steps:
        if (path := recipe.out / step.name / "evaluation.json").is_file():
            report = json.loads(path.read_text())
            lines.append(f"| {step.name} | {100 * report['mean_iou']:.1f} | {100 * report['accuracy']:.1f} |")
    scored = "the synthetic sequence 08" if recipe.real is None else "the real sequence 08"
    return "\n".join([*lines, "", f"Scores of the last checkpoints over every point of {scored}.", ""])


def _from_nothing(step: Step) -> Config:
    """The config of a training that starts from random weights."""
    words, *overrides = step.words[1:-2]
    return read_config(words, [one for one in overrides if not one.startswith("runtime.initialise_from=")])


def _list_file(name: str) -> Path:
    """The file of `data.labelled`: this file, or a shipped list; a ValueError if there is none."""
    if Path(name).is_file():
        return Path(name)
    try:
        return resource("datasets", "semantic_kitti", "splits", f"{name}.txt")
    except ValueError as error:
        raise ValueError(f"--labelled: {name!r} is no file and no shipped list: {error}") from error
