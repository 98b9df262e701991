"""`rangeseg validate`: checks of a dataset on disk."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, progress, table
from rangeseg.commands.fields import add_fields, with_fields
from rangeseg.files import write_atomically

if TYPE_CHECKING:
    from rangeseg.apps.validate import SampleReport, SplitReport

EXAMPLES = (
    "rangeseg validate semantic_kitti --root /data/semantic_kitti",
    "rangeseg validate my.yaml --split val --json problems.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Check a whole dataset on disk: official counts, readable files, sizes, raw ids and finite values."""
    from rangeseg.apps.validate import dataset_config
    from rangeseg.apps.validate import validate as work
    from rangeseg.engine.experiment import Experiment

    config = dataset_config(arguments.dataset, arguments.root, with_fields(arguments))
    name = Experiment(config).label_map.dataset
    reports: list[SplitReport] = []
    seen = _Seen()
    try:
        for one in work(
            config, arguments.split, partial=arguments.partial, workers=arguments.workers, progress=seen.progress
        ):
            printed = {what for sample in seen.found for what in sample.problems}
            _print(what for what in one.problems if what not in printed)  # problems of the whole split
            reports.append(one)
            seen.found.clear()
    except KeyboardInterrupt:
        if seen.found:
            reports.append(seen.so_far())
        _verdict(name, config.data.root, reports, arguments.json)
        raise
    _verdict(name, config.data.root, reports, arguments.json)
    if problems := sum(len(one.problems) for one in reports):
        raise ValueError(f"{name} in {config.data.root}: problems found: {problems}. They are listed above.")
    OUT.print("no problems found")


class _Seen:
    """The reports on the split that is being read; prints problems when they are found."""

    def __init__(self) -> None:
        self.found: list[SampleReport] = []
        self.words = ""

    def progress(self, samples: Iterable[SampleReport], words: str, total: int) -> Iterator[SampleReport]:
        """Yield the same samples and print the problems of each."""
        self.words = words
        for one in progress(samples, words, total):
            self.found.append(one)
            _print(one.problems)
            yield one

    def so_far(self) -> SplitReport:
        """The report on a split that was not read to its end."""
        from rangeseg.apps.validate import tally

        return tally(f"{self.words.rpartition(' ')[2]}, not all", self.found)


def _print(problems: Iterable[str]) -> None:
    for what in problems:
        OUT.print(what, soft_wrap=True)


def _verdict(name: str, root: str, reports: Sequence[SplitReport], path: Path | None) -> None:
    """Print a table of the splits, and write all problems and counts as JSON."""
    rows = table("split", "files", "elements", "no returns", "labelled %", "problems", title=name)
    for one in reports:
        share = f"{100 * one.labelled / max(one.elements, 1):.1f}"
        counts = (f"{count:,}" for count in (one.samples, one.elements, one.no_returns))
        rows.add_row(one.split, *counts, share, str(len(one.problems)))
    OUT.print(rows)
    if path:
        result = {"dataset": name, "root": root, "splits": [asdict(one) for one in reports]}
        write_atomically(path, json.dumps(result, indent=2).encode())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("dataset", help="the name of a dataset, or a config; key.path=value overrides its keys")
    parser.add_argument("--root", help="folder of the dataset; default: data.root of the config")
    add_fields(parser)
    parser.add_argument("--split", nargs="+", default=[], help="check only these splits; default: all")
    parser.add_argument(
        "--partial", action="store_true", help="accept an incomplete dataset: do not check official counts"
    )
    parser.add_argument("--json", type=Path, help="write all problems and counts to this file")
    parser.add_argument("--workers", type=int, default=2, help="number of threads")
