"""`rangeseg stats`: statistics of channels and classes."""

from __future__ import annotations

import argparse
from functools import reduce
from operator import add
from pathlib import Path

from rangeseg.commands.console import OUT, progress, whole
from rangeseg.commands.fields import add_fields, with_fields
from rangeseg.files import write_atomically

EXAMPLES = (
    "rangeseg stats mini_kitti data.root=/data/semantic_kitti",
    "rangeseg stats my.yaml --split train --out statistics.yaml",
)


def run(arguments: argparse.Namespace) -> None:
    """Measure means and standard deviations of channels, and frequencies and loss weights of classes."""
    from rangeseg.apps.stats import measured, statistics_yaml, tallies
    from rangeseg.config import read_config
    from rangeseg.engine.experiment import Experiment

    config = read_config(arguments.config, [*with_fields(arguments), "runtime.out=.", "optim.steps=1"])
    of = measured(config, arguments.split, arguments.subset)
    parts = progress(tallies(of, workers=arguments.workers), "measuring", len(of))
    words = [str(arguments.config), *with_fields(arguments), "--split", arguments.split]
    words += ["--subset", arguments.subset] if arguments.subset else []
    words += ["--of", arguments.of] if arguments.of != "elements" else []
    text = statistics_yaml(Experiment(config), reduce(add, parts), of=arguments.of, words=words)
    if arguments.out:
        write_atomically(arguments.out, text.encode())
    OUT.print(text if not arguments.out else f"{text}written: {arguments.out}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("config", help="the config whose views are measured; key.path=value overrides its keys")
    add_fields(parser)
    parser.add_argument("--split", default="train", help="train, val or test")
    parser.add_argument(
        "--subset",
        help="measure only this list of the split and count all its labels: a file, the name of a shipped list, or "
        "with_labels (default: measure the whole split; of train, count the labels that data.labelled names)",
    )
    parser.add_argument(
        "--of",
        choices=["elements", "pixels"],
        default="elements",
        help="compute class frequencies over elements (points) or pixels",
    )
    parser.add_argument("--out", type=Path, help="output: a YAML that a config includes in base")
    parser.add_argument(
        "--workers", type=whole(0), default=2, help="number of threads; the result does not depend on it"
    )
