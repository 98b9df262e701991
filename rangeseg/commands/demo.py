"""`rangeseg demo`: labels from the shipped networks at once, then a training of a few minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress, table, values_of

EXAMPLES = (
    "rangeseg demo 000000.bin",
    "rangeseg demo --real /data/semantic_kitti --out runs/demo_real",
)


def run(arguments: argparse.Namespace) -> None:
    """Label scans with the shipped networks, then train further without and with unlabelled scans; needs no dataset."""
    from rangeseg.apps.demo import Numbers, answer, demo, verdict

    for sentence in answer(arguments.out, arguments.scan, seed=arguments.seed):
        OUT.print(sentence, soft_wrap=True)
    if arguments.answer_only:
        return
    options = values_of(arguments, "real", "seed", "scans", "overrides")
    numbers: list[Numbers] = []
    later = (
        "The training starts now and takes some minutes on two cores. Ctrl-C stops it; run the same command again to "
        "continue."
    )
    OUT.print(later, soft_wrap=True)
    for result in demo(arguments.out, progress=progress, **options):
        if isinstance(result, Numbers):
            numbers.append(result)
        else:
            OUT.print(result, soft_wrap=True)
    rows = table("", "mIoU %", "accuracy %", title="every point of held-out scans")
    for one in numbers:
        rows.add_row(one.method, f"{100 * one.mean_iou:.1f}", f"{100 * one.accuracy:.1f}")
    OUT.print(rows)
    OUT.print(verdict(*numbers[-2:]), soft_wrap=True)
    OUT.print(
        f"Open {arguments.out / 'report.html'}; then train on your own scans: docs/your_own_sensor.md", soft_wrap=True
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("scan", nargs="?", type=Path, help="a scan of your own, which is labelled first")
    parser.add_argument("--answer-only", action="store_true", help="label scans and stop before the training")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="output folder")
    parser.add_argument(
        "--real", type=Path, help="use the scans of this SemanticKITTI folder instead of synthetic streets"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    parser.add_argument("--scans", type=int, default=20, help="number of synthetic scans in each of six sequences")
