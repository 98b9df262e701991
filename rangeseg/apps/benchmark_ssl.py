"""`rangeseg benchmark-ssl`: semi-supervised methods on synthetic streets, cell by cell of one table.

OUT/streets/                        the data, see `ssl_streets`
OUT/METHOD_1pct_seed0/              run folders, METHOD_1pct_seed0.log beside them
OUT/table.md, OUT/curves_1pct.png   what is known so far

A cell is a method, a share of labels and a seed. Whatever is whole is used again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from rangeseg.apps.repeat import Job, curves
from rangeseg.apps.ssl_streets import SHARES, list_of
from rangeseg.files import write_atomically
from rangeseg.registry import did_you_mean
from rangeseg.vis.plots import Axes, plot
from rangeseg.vis.png import write_png

METHODS = {
    "supervised": "supervised",
    "mean_teacher": "mean_teacher",
    "cutout": "cutout",
    "cutmix": "cutmix",
    "lasermix": "lasermix",
    "lasermix_loop": "lasermix_loop",
    "fixmatch": "fixmatch+classmix",
    "recipe": "warm_teacher+cutmix+rangeformer",
}
"""Row of the table -> words above `configs/benchmark_ssl.yaml`."""

SEEDS = {"1%": (0, 1, 2), "10%": (0, 1, 2), "20%": (0,), "50%": (0,)}


@dataclass(frozen=True)
class Cell:
    """One training."""

    method: str
    share: str
    seed: int

    def job(self, out: Path, streets: Path) -> Job:
        """The cell as a training in a process of its own.

        Args:
            out: the folder of the run folders.
            streets: of the data.
        """
        name = f"{self.method}_{self.share.removesuffix('%')}pct_seed{self.seed}"
        keys = (f"data.root={streets}", f"data.labelled={list_of(streets, self.share)}")
        return Job(f"benchmark_ssl+{METHODS[self.method]}", self.seed, out / name, keys)


def cells(
    methods: Sequence[str] = (), shares: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> tuple[Cell, ...]:
    """The cells that are asked for: first those of one seed everywhere, so that a half-done table is a whole one.

    Args:
        methods: of `METHODS`; none for all.
        shares: of `SHARES`; none for all.
        seeds: None for three at 1 and 10 %, and one elsewhere.

    Raises:
        ValueError: an unknown method or share.
    """
    for what, words, known in (("method", methods, METHODS), ("share of labels", shares, SHARES)):
        if unknown := [word for word in words if word not in known]:
            raise ValueError(f"{unknown[0]!r} is no {what} of this benchmark. {did_you_mean(unknown[0], list(known))}")
    found = [
        Cell(method, share, seed)
        for share in shares or SHARES
        for method in methods or METHODS
        for seed in (SEEDS[share] if seeds is None else seeds)
    ]
    return tuple(sorted(found, key=lambda cell: cell.seed))


def table(out: Path, streets: Path) -> str:
    """Every cell that is done, of this and of earlier calls: mIoU in %, mean and sample standard deviation over seeds.

    Args:
        out: the folder of the run folders.
        streets: of the data.
    """
    lines = [f"| method | {' | '.join(SHARES)} |", "| --- |" + " ---: |" * len(SHARES)]
    for method in METHODS:
        row = [_entry(_scores(out, method, share)) for share in SHARES]
        if any(row):
            lines.append(f"| {method} (`{METHODS[method]}`) | {' | '.join(row)} |")
    counts = ", ".join(f"{share}: {_lines(list_of(streets, share))} scans" for share in SHARES)
    foot = f"mIoU % on the points of unseen streets, mean ± sample standard deviation over seeds. Labelled {counts}."
    return "\n".join([*lines, "", foot]) + "\n"


def write_results(out: Path, streets: Path) -> list[Path]:
    """Write the table, and for each share the curves of all methods.

    Args:
        out: the folder of the run folders.
        streets: of the data.

    Returns:
        The files.
    """
    files = [out / "table.md"]
    write_atomically(files[0], table(out, streets).encode())
    for share in SHARES:
        lines: dict[str, tuple[list[int], list[float]]] = {}
        for method in METHODS:
            jobs = [Cell(method, share, seed).job(out, streets) for seed in _seeds(out, method, share)]
            if found := curves(jobs):
                (lines[method],) = found.values()
        if lines:
            axes = Axes(f"{share} of the scans labelled, mean over seeds", "steps", "mIoU %", legend="bottom")
            files.append(out / f"curves_{share.removesuffix('%')}pct.png")
            write_png(files[-1], plot(lines, axes))
    return files


def _seeds(out: Path, method: str, share: str) -> list[int]:
    pattern = f"{method}_{share.removesuffix('%')}pct_seed"
    return sorted(int(path.name.removeprefix(pattern)) for path in out.glob(f"{pattern}*") if path.is_dir())


def _scores(out: Path, method: str, share: str) -> list[float]:
    reports = (Cell(method, share, seed).job(out, out).report for seed in _seeds(out, method, share))
    return [100 * json.loads(report.read_text())["mean_iou"] for report in reports if report.is_file()]


def _entry(scores: Iterable[float]) -> str:
    scores = list(scores)
    if len(scores) < 2:
        return "".join(f"{score:.1f}" for score in scores)
    return f"{mean(scores):.1f} ± {stdev(scores):.1f} ({len(scores)})"


def _lines(path: Path) -> int:
    return len(path.read_text().split())
