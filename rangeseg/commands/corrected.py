"""`rangeseg corrected`: labels that people corrected."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT

EXAMPLES = (
    "rangeseg corrected to_label --out labels",
    "rangeseg corrected to_label --out labels --done 000012 000040",
)


def run(arguments: argparse.Namespace) -> None:
    """Read corrected pre-labels, and write the labels that count in the layout of the dataset.

    For scans that are marked as done, all labels count. For all other scans, only the points that a person changed
    count. `rangeseg propagate --labels` and `data.carried=` accept the folder.
    """
    from rangeseg.apps.corrected import run_corrected

    for line in run_corrected(arguments.folder, arguments.out, done=arguments.done, drive=arguments.drive):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("folder", type=Path, help="folder written by `rangeseg suggest --prelabel`")
    parser.add_argument("--out", type=Path, required=True, help="output folder; existing labels in it are kept")
    parser.add_argument("--done", nargs="+", default=[], help="names of completely checked scans, or all")
    parser.add_argument("--drive", type=Path, help="folder of the drive, if it has moved")
