"""Checks of a dataset on the disk."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rangeseg.commands.console import OUT, progress, table
from rangeseg.files import write_atomically

EXAMPLES = (
    "rangeseg validate semantic_kitti --root /data/semantic_kitti",
    "rangeseg validate my.yaml --split val --json problems.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Check a whole dataset on the disk: official counts, readable files, sizes, raw ids, finite values."""
    from rangeseg.apps.validate import dataset_config
    from rangeseg.apps.validate import validate as work
    from rangeseg.engine.experiment import Experiment

    config = dataset_config(arguments.dataset, arguments.root, arguments.overrides)
    name = Experiment(config).label_map.dataset
    rows = table("split", "files", "elements", "no returns", "labelled %", "problems", title=name)
    reports = []
    for one in work(config, arguments.split, partial=arguments.partial, workers=arguments.workers, watch=progress):
        reports.append(one)
        share = f"{100 * one.labelled / max(one.elements, 1):.1f}"
        counts = (f"{count:,}" for count in (one.things, one.elements, one.no_returns))
        rows.add_row(one.split, *counts, share, str(len(one.problems)))
    problems = [what for one in reports for what in one.problems]
    OUT.print(rows)
    if arguments.json:
        result = {"dataset": name, "root": config.data.root, "splits": [asdict(one) for one in reports]}
        write_atomically(arguments.json, json.dumps(result, indent=2).encode())
    if problems:
        OUT.print("\n".join(problems), soft_wrap=True)
        raise ValueError(f"{len(problems)} things are wrong with {name} in {config.data.root}; they are listed above.")
    OUT.print("nothing is wrong")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("dataset", help="a dataset's name, or a config; key.path=value after it overrides")
    parser.add_argument("--root", help="its folder; the config's data.root if not given")
    parser.add_argument("--split", nargs="+", default=[], help="only these; all of them if not given")
    parser.add_argument("--partial", action="store_true", help="a part is enough: leave official counts out")
    parser.add_argument("--json", type=Path, help="write all that was found here")
    parser.add_argument("--workers", type=int, default=2, help="threads")
