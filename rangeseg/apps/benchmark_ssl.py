"""`rangeseg benchmark-ssl`: a table of semi-supervised methods on synthetic streets, trained cell by cell.

OUT/streets/                        the data, see `ssl_streets`
OUT/METHOD_1pct_seed0/              run folders, METHOD_1pct_seed0.log beside them
OUT/results.json                    the results so far, see `ssl_results`; the files below are made from them
OUT/table.md                        the table
OUT/curves_1pct.png                 mIoU against steps
OUT/gains_1pct.png                  difference to supervised training, over the seeds that both have

A cell is a method, a share of labels and a seed. Finished cells are not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rangeseg.apps.repeat import Job
from rangeseg.apps.ssl_results import SHARED, Results, numbers_of, only_one, read_results, settings_of
from rangeseg.apps.ssl_streets import SHARES, TINY, Streets, list_of, version_of
from rangeseg.apps.steps import refuse_own_keys
from rangeseg.config import Config, config_from_yaml, read_config
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
"""Row of the table -> configs that are joined to `configs/benchmark_ssl.yaml`."""

BASELINE = "supervised"

OWN = {"runtime.seed": "--seed", "runtime.out": "--out", "data.root": "--data", "data.labelled": "--labelled"}
"""Key that each cell has for itself -> the option that sets it."""

ALIKE = {"initialise_from": None, "devices": 1, "num_nodes": 1, "sync_batchnorm": False}
"""Keys of `runtime` that change the trained weights -> the value that all cells have."""

SEEDS = {"1%": (0, 1, 2), "10%": (0, 1, 2), "20%": (0,), "50%": (0,)}


Curve = dict[int, float]
"""Step -> mIoU in %."""


@dataclass(frozen=True)
class Cell:
    """One training: a method, a share of labels and a seed."""

    method: str
    share: str
    seed: int

    @property
    def key(self) -> str:
        """The key in the results: ``cutmix:1:0``."""
        return f"{self.method}:{self.share.removesuffix('%')}:{self.seed}"

    def job(self, out: Path, streets: Path) -> Job:
        """The training of the cell.

        Args:
            out: the folder of the run folders.
            streets: the folder of the data.
        """
        name = f"{self.method}_{self.share.removesuffix('%')}pct_seed{self.seed}"
        keys = (f"data.root={streets}", f"data.labelled={list_of(streets, self.share)}")
        return Job(f"benchmark_ssl+{METHODS[self.method]}", self.seed, out / name, keys)


def cells(
    methods: Sequence[str] = (), shares: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> tuple[Cell, ...]:
    """The selected cells, seed by seed, so that an unfinished table compares equal seeds.

    Args:
        methods: keys of `METHODS`; empty: all.
        shares: keys of `SHARES`; empty: all.
        seeds: None: three at 1 % and 10 %, one at the other shares.

    Raises:
        ValueError: an unknown method or share.
    """
    for what, words, known in (("method", methods, METHODS), ("share of labels", shares, SHARES)):
        if unknown := [word for word in words if word not in known]:
            raise ValueError(
                f"{unknown[0]!r} is not a {what} of this benchmark. {did_you_mean(unknown[0], list(known))}"
            )
    found = [
        Cell(method, share, seed)
        for share in shares or SHARES
        for method in methods or METHODS
        for seed in (SEEDS[share] if seeds is None else seeds)
    ]
    return tuple(sorted(found, key=lambda cell: cell.seed))


def parse_cells(words: Sequence[str]) -> tuple[Cell, ...]:
    """The cells with these keys, in this order, without repetition.

    Args:
        words: ``METHOD:SHARE:SEED`` each, or several joined by commas: ``supervised:1:0,cutmix:1:0``.

    Raises:
        ValueError: a word is not a cell of the benchmark.
    """
    found: dict[Cell, None] = {}
    for word in filter(None, ",".join(words).split(",")):
        method, share, seed = (*word.split(":"), "", "")[:3]
        if word.count(":") != 2 or not seed.isdecimal():
            raise ValueError(f"{word!r} is not a cell. Write METHOD:SHARE:SEED, for example cutmix:1:0.")
        found |= dict.fromkeys(cells([method], [f"{share.removesuffix('%')}%"], [int(seed)]))
    return tuple(found)


def shared_settings(overrides: Sequence[str]) -> dict[str, Any]:
    """The settings that all cells of a call share.

    Args:
        overrides: `key.path=value` for every cell.

    Raises:
        ValueError: an override changes a section in which the methods differ, a key of `OWN`, or one of `ALIKE`.
    """
    refuse_own_keys(overrides, OWN)
    for word in overrides:
        if word.split(".")[0] not in (*SHARED, "runtime"):
            raise ValueError(
                f"{word}: the benchmark compares the methods as shipped, so this key may not change. Only keys of "
                f"{', '.join(SHARED)} and runtime may change."
            )
    config = read_config("benchmark_ssl", [*overrides, "data.root=STREETS"])
    _refuse_unlike(config, "The benchmark")
    return settings_of(config)


def _refuse_unlike(config: Config, source: str | Path) -> None:
    """Refuse keys of `ALIKE` with other values: the scores could not stand in one table.

    Raises:
        ValueError: there is one.
    """
    for key, wanted in ALIKE.items():
        if (value := getattr(config.runtime, key)) != wanted:
            raise ValueError(
                f"{source}: runtime.{key}={value} changes the trained weights, so the score could not be compared with "
                f"those of the other cells, which have {wanted}. Leave it out, or train elsewhere with rangeseg train."
            )


def collect(out: Path, path: Path, fresh: Results) -> Results:
    """Add the finished cells below a folder to the file of results.

    Args:
        out: the folder of the run folders.
        path: the file of results; created if it does not exist.
        fresh: further results to add; its version and settings are those of a new file.

    Returns:
        All results in the file.

    Raises:
        ValueError: the results or a run have another version of the streets, other settings, or other `ALIKE` values.
    """
    with only_one(path):
        known = read_results(path) if path.is_file() else Results(fresh.version, fresh.settings)
        known.add(fresh, path)
        for folder in sorted(out.glob("*pct_seed*")):
            method, _, share = folder.name.rpartition("pct_seed")[0].rpartition("_")
            key = f"{method}:{share}:{folder.name.rpartition('seed')[2]}"
            if method in METHODS and key not in known.cells and (folder / "evaluation.json").is_file():
                config = config_from_yaml((folder / "config.yaml").read_text(), source=str(folder / "config.yaml"))
                _refuse_unlike(config, folder)
                known.check(version_of(Path(config.data.root), fresh.version), settings_of(config), folder)
                if str(config.runtime.seed) != folder.name.rpartition("seed")[2]:
                    raise ValueError(f"{folder}: was trained with seed {config.runtime.seed}. Name it after this seed.")
                known.cells[key] = numbers_of(folder) | {"precision": config.runtime.precision}
        known.write(path, [cell.key for cell in cells()])
    return known


def table(results: Results) -> str:
    """A Markdown table of mIoU in %, mean and sample standard deviation over seeds, with a list of missing cells.

    Args:
        results: results of the finished cells.
    """
    lines = [f"| method | {' | '.join(SHARES)} |", "| --- |" + " ---: |" * len(SHARES)]
    for method in METHODS:
        cells_of = {share: _cells(results, method, share).values() for share in SHARES}
        row = [_entry([100 * one["mean_iou"] for one in found], share) for share, found in cells_of.items()]
        lines.append(f"| {method} (`{METHODS[method]}`) | {' | '.join(row)} |")
    streets = TINY if results.version == TINY.version else Streets()
    train = len(streets.sequences) * streets.streets * streets.scans
    counts = ", ".join(f"{share}: {max(1, round(part * train))} scans" for share, part in SHARES.items())
    foot = [f"mIoU % on the points of unseen streets, mean ± sample standard deviation over seeds. Labelled {counts}."]
    if missing := [cell.key for cell in cells() if cell.key not in results.cells]:
        foot += ["", f"Missing: `--cells {','.join(missing)}`"]
    return "\n".join([*lines, "", *foot]) + "\n"


def write_pages(results: Results, folder: Path) -> list[Path]:
    """Write the table and, for each share with results, the curves of all methods and of their gains.

    Args:
        results: results of the finished cells.
        folder: the output folder.

    Returns:
        The written files.
    """
    files = [folder / "table.md"]
    write_atomically(files[0], table(results).encode())
    for share in SHARES:
        curves = {method: _curves(results, method, share) for method in METHODS}
        gains = {method: _minus(seeds, curves[BASELINE]) for method, seeds in curves.items()}
        for name, of_methods, up in (("curves", curves, "mIoU %"), ("gains", gains, f"mIoU above {BASELINE}, points")):
            lines = {method: _mean(list(seeds.values())) for method, seeds in of_methods.items()}
            drawn = [method for method, (steps, _) in lines.items() if steps]
            if drawn and not (name == "gains" and drawn == [BASELINE]):
                title = f"{share} of the scans labelled, mean over seeds"
                axes = Axes(title, "steps", up, legend="beside", absent="missing")
                files.append(folder / f"{name}_{share.removesuffix('%')}pct.png")
                write_png(files[-1], plot(lines, axes))
    return files


def _cells(results: Results, method: str, share: str) -> dict[str, dict[str, Any]]:
    """Seed -> numbers of the cell."""
    above = f"{method}:{share.removesuffix('%')}:"
    return {key.removeprefix(above): numbers for key, numbers in results.cells.items() if key.startswith(above)}


def _curves(results: Results, method: str, share: str) -> dict[str, Curve]:
    """Seed -> mIoU in % at each evaluated step."""
    return {
        seed: {step: 100 * value for step, value in zip(one["steps"], one["curve"], strict=True)}
        for seed, one in _cells(results, method, share).items()
        if one["steps"]
    }


def _minus(curves: Mapping[str, Curve], others: Mapping[str, Curve]) -> dict[str, Curve]:
    """Differences at the seeds and steps that both have."""
    return {
        seed: {step: value - others[seed][step] for step, value in curve.items() if step in others[seed]}
        for seed, curve in curves.items()
        if seed in others
    }


def _mean(curves: Sequence[Curve]) -> tuple[list[int], list[float]]:
    """Steps that all seeds have, and the mean over seeds at each."""
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    return steps, [mean(curve[step] for curve in curves) for step in steps]


def _entry(scores: Sequence[float], share: str) -> str:
    if not scores:
        return "missing"
    planned = len(SEEDS[share])
    of = f" ({len(scores)} of {planned})" if len(scores) < planned else f" ({len(scores)})" if len(scores) > 1 else ""
    spread = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{mean(scores):.1f}{spread}{of}"
