"""`rangeseg reproduce ROW` trains and scores a published row, and shows its number beside the published one.

OUT/lists/                         drawn lists of labelled scans or photographs
OUT/TABLE_METHOD_LABELS_seed0/     run folders with scores.json
OUT/done/NAME.json                 the finished steps
OUT/logs/NAME.log                  the output of each step
OUT/table.md                       the numbers
OUT/speed.json                     the measured seconds of a step
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from rangeseg.apps.published import Row
from rangeseg.apps.speed import run_folder_bytes, seconds_per_step
from rangeseg.apps.steps import Step, refuse_own_keys, trust_of
from rangeseg.config import Config, read_config
from rangeseg.files import write_atomically
from rangeseg.registry import ConfigError

OWN = {"runtime.seed": "--seeds", "runtime.out": "--out", "data.root": "--root", "data.labelled": "another row"}
"""Key that each training has for itself -> what to use in place of an override."""


@dataclass(frozen=True)
class Reproduction:
    """Rows and their data.

    Args:
        rows: the rows to train, all of one dataset.
        root: the dataset's folder.
        out: the folder of all results.
        seeds: the seeds of every row. None: the seeds of the published mean.
        order: the file of the published permutation of Pascal VOC's names.
        overrides: `key.path=value` for every training.

    Raises:
        ValueError: the rows belong to several datasets, they need `order`, or an override is a key of `OWN`.
    """

    rows: Sequence[Row]
    root: Path
    out: Path
    seeds: Sequence[int] | None = None
    order: Path | None = None
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        refuse_own_keys(self.overrides, OWN)
        if len({row.table.config.partition("/")[0] for row in self.rows}) > 1:
            raise ValueError(
                "These rows belong to several datasets, but --root is one folder. Give rows of one dataset."
            )
        if any("{order}" in row.table.draw and row.labels in row.table.drawn for row in self.rows) and not self.order:
            raise ValueError(
                "These rows take their labelled photographs from a published permutation. Give its file with --order. "
                "datasets/pascal_voc/README.md says where to find it."
            )

    def seeds_of(self, row: Row) -> Sequence[int]:
        """The seeds of a row."""
        return tuple(dict.fromkeys(self.seeds or row.table.seeds))

    def lists(self) -> list[Step]:
        """The steps that draw the lists, without repetition."""
        steps = {}
        for row in self.rows:
            for seed in self.seeds_of(row) if row.labels in row.table.drawn else ():
                words = [word.format(root=self.root, order=self.order, seed=seed) for word in row.table.draw.split()]
                words = _joined(words)
                name = f"lists_{row.table.config.replace('/', '_')}" + (f"_seed{seed}" * ("{seed}" in row.table.draw))
                steps[name] = self._step(name, ("split", "--out", str(self.out / "lists"), *words))
        return list(steps.values())

    def trainings(self) -> list[list[Step]]:
        """The training and the scoring of each row with each seed."""
        return [[self.train(row, seed), self.scoring(row, seed)] for row in self.rows for seed in self.seeds_of(row)]

    def config(self, row: Row, seed: int) -> Config:
        """The config of a row's training."""
        words, *overrides = self.train(row, seed).words[1:-2]
        return read_config(words, overrides)

    def score(self, row: Row, seed: int) -> float | None:
        """The score in %. None: the row is not scored yet."""
        if not (path := self._run(row, seed) / "scores.json").is_file():
            return None
        value = json.loads(path.read_text())
        for key in row.table.score:
            value = value[key]
        return 100 * float(value)

    def _run(self, row: Row, seed: int) -> Path:
        return self.out / f"{row.name.replace('/', '_')}_seed{seed}"

    def train(self, row: Row, seed: int) -> Step:
        """The training of a row with a seed."""
        listed = row.table.labels[row.labels].format(
            lists=self.out / "lists", seed=seed, stem=self.order.stem if self.order else ""
        )
        run = self._run(row, seed)
        keys = (f"data.root={self.root}", f"data.labelled={listed}", *row.table.further.get(row.method, ()))
        seeded = (f"runtime.seed={seed}", f"runtime.out={run}")
        words = ("train", row.words, *keys, *seeded, *self.overrides, "--resume", "auto")
        return self._step(f"train_{run.name}", words)

    def scoring(self, row: Row, seed: int) -> Step:
        """The scoring of a row with a seed, at the level of the published row."""
        run = self._run(row, seed)
        level = ("--level", "pixel") if row.table.score[0] == "pixels" else ()
        checkpoint = run / "best.pt" if row.table.best else run
        trust = trust_of(self.config(row, seed)) if self.overrides else ()
        scores = ("--json", str(run / "scores.json"))
        words = ("evaluate", str(checkpoint), *level, *trust, *scores, f"data.root={self.root}")
        return self._step(f"score_{run.name}", words)

    def _step(self, name: str, words: tuple[str, ...]) -> Step:
        return Step(name, words, self.out / "done" / f"{name}.json", self.out / "logs" / f"{name}.log")


def _joined(words: Sequence[str]) -> list[str]:
    """Write ``--root X`` as one word, which may change when the data moves."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--root":
            found[-1] = f"--root={word}"
        else:
            found.append(word)
    return found


def table(plan: Reproduction) -> str:
    """A table of the published numbers and the numbers here, in Markdown."""
    lines = ["| row | published % | here % | spread | seeds | level |", "| --- | --- | --- | --- | --- | --- |"]
    for row in plan.rows:
        found = {seed: plan.score(row, seed) for seed in plan.seeds_of(row)}
        scores = [score for score in found.values() if score is not None]
        reproduced = f"{mean(scores):.2f}" if scores else "not yet"
        spread = f"± {stdev(scores):.2f}" if len(scores) > 1 else ""
        single = ", ".join(f"{seed}: {'-' if score is None else f'{score:.2f}'}" for seed, score in found.items())
        published = row.published.replace("±", " ± ") or "-"
        lines.append(f"| {row.name} | {published} | {reproduced} | {spread} | {single} | {row.table.level} |")
    sources = "; ".join(dict.fromkeys(row.table.source for row in plan.rows))
    return (
        "\n".join([*lines, "", f"Sources: {sources}. The spread is the sample standard deviation over seeds."]) + "\n"
    )


def measure(plan: Reproduction) -> None:
    """Time some steps of each row on this machine, and write the seconds and the overrides to OUT/speed.json."""
    known = speeds(plan)
    for row in plan.rows:
        if row.name not in known:
            known[row.name] = seconds_per_step(plan.config(row, plan.seeds_of(row)[0]))
            kept = {"overrides": _timed(plan), "seconds": known}
            write_atomically(plan.out / "speed.json", json.dumps(kept, indent=1).encode())


def speeds(plan: Reproduction) -> dict[str, float]:
    """The seconds of a step that were measured with the same overrides, by the row's name."""
    path = plan.out / "speed.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    return dict(kept["seconds"]) if kept.get("overrides") == _timed(plan) else {}


def _timed(plan: Reproduction) -> list[str]:
    """The overrides that the time of a step may depend on."""
    return sorted(word for word in plan.overrides if not word.startswith("optim.steps="))


def estimate(plan: Reproduction) -> list[str]:
    """Lines with the commands that are not done, the disk space and the hours."""
    known, disk, hours, unknown = speeds(plan), 0.0, 0.0, 0
    lines = [step.command for step in plan.lists() if not step.is_done()]
    sizes: dict[str, int] = {}
    unsized: list[str] = []
    for row in plan.rows:
        for seed in plan.seeds_of(row):
            train, score = plan.train(row, seed), plan.scoring(row, seed)
            lines += [step.command for step in (train, score) if not step.is_done()]
            if train.is_done():
                continue
            config = plan.config(row, seed)
            try:
                disk += sizes.get(row.words) or sizes.setdefault(row.words, run_folder_bytes(config))
            except ConfigError as error:  # for example, a package is not installed
                unsized.append(str(error))
            hours += config.optim.steps * known.get(row.name, 0) / 3600
            unknown += row.name not in known
    expected = (
        f"expected: {hours:.1f} hours of training without evaluations, by the measured time of a step" if known else ""
    )
    lines.append(f"disk: about {disk / 1e9:.2f} GB for run folders")
    lines += [f"disk: unknown for {len(unsized)} trainings ({unsized[0]})"] if unsized else []
    lines += [expected] if expected else []
    if unknown:
        lines.append(f"hours: unknown for {unknown} trainings; --measure times some of their steps on this machine")
    return lines
