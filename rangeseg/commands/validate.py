"""`rangeseg validate`: checks of a dataset on disk."""

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
    """Check a whole dataset on disk: official counts, readable files, sizes, raw ids and finite values."""
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
        raise ValueError(f"{name} in {config.data.root}: problems found: {len(problems)}. They are listed above.")
    OUT.print("no problems found")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("dataset", help="the name of a dataset, or a config; key.path=value overrides its keys")
    parser.add_argument("--root", help="folder of the dataset; default: data.root of the config")
    parser.add_argument("--split", nargs="+", default=[], help="check only these splits; default: all")
    parser.add_argument(
        "--partial", action="store_true", help="accept an incomplete dataset: do not check official counts"
    )
    parser.add_argument("--json", type=Path, help="write all findings to this file")
    parser.add_argument("--workers", type=int, default=2, help="number of threads")
