"""`rangeseg report`: runs on one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, command_line, progress, values_of, whole

EXAMPLES = (
    "rangeseg report runs/quick",
    "rangeseg report runs/seeds/cutmix_seed0 runs/seeds/supervised_seed0 --out both.html",
)


def run(arguments: argparse.Namespace) -> None:
    """Score runs and write one HTML file: tables, curves, confusion matrix, and the worst and best scans in 3-D."""
    from rangeseg.apps.report import write_report

    options = values_of(arguments, "scans", "split", "title", "device", "overrides", "trust")
    path = write_report(arguments.runs, arguments.out, progress=progress, **options)
    OUT.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; it opens without a network connection", soft_wrap=True)
    OUT.print(f"next: {command_line('python', '-m', 'webbrowser', path.resolve().as_uri())}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("runs", nargs="+", type=Path, help="run folders; the seeds of one experiment become one row")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="output file")
    parser.add_argument("--scans", type=whole(), default=4, help="number of worst and best scans to draw")
    parser.add_argument("--split", help="train, val or test; default: the split of the configs")
    parser.add_argument("--title", help="title of the page")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)
