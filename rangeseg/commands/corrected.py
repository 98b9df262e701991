"""Labels that people corrected."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT

EXAMPLES = (
    "rangeseg corrected to_label --out labels",
    "rangeseg corrected to_label --out labels --done 000012 000040",
)


def run(arguments: argparse.Namespace) -> None:
    """Read what people corrected of pre-labels, and write the labels that count in the dataset's layout.

    Of a scan that is named as done all labels count, of any other the points that a person changed. `rangeseg propagate
    --labels` and `data.carried=` take the folder.
    """
    from rangeseg.apps.corrected import run_corrected

    for line in run_corrected(arguments.folder, arguments.out, done=arguments.done, drive=arguments.drive):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("folder", type=Path, help="that `rangeseg suggest --prelabel` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the labels; what is there is added to")
    parser.add_argument("--done", nargs="+", default=[], help="scans that were checked as a whole, or all")
    parser.add_argument("--drive", type=Path, help="the drive, where it is no longer where it was")
