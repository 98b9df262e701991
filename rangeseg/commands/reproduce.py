"""`rangeseg reproduce`: published rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress, whole

EXAMPLES = (
    "rangeseg reproduce semantic_kitti/cutmix/10 --root /data/semantic_kitti --out runs/rows",
    "rangeseg reproduce pascal_voc/deeplab_v2 --root /data/voc --order split_0.pkl --out runs/voc --dry-run",
)


def run(arguments: argparse.Namespace) -> None:
    """Train and score published rows on the unpacked dataset, and show each number beside the published one.

    If you stop the command, run it again to continue.
    """
    from rangeseg.apps.published import find_rows
    from rangeseg.apps.reproduce import Reproduction, estimate, measure, table
    from rangeseg.apps.steps import run_chains
    from rangeseg.files import write_atomically

    rows = list({row.name: row for word in arguments.rows for row in find_rows(word)}.values())
    plan = Reproduction(
        rows, arguments.root, arguments.out, arguments.seeds, arguments.order, tuple(arguments.overrides)
    )
    if arguments.measure or not arguments.dry_run:
        for _ in run_chains([[step] for step in plan.lists()]):
            pass
    if arguments.measure:
        measure(plan)
    if arguments.dry_run:
        for line in estimate(plan):
            OUT.print(line, soft_wrap=True)
    elif not arguments.measure:
        chains = plan.trainings()
        for _ in progress(run_chains(chains, parallel=arguments.jobs), "training and scoring", len(chains)):
            write_atomically(arguments.out / "table.md", table(plan).encode())
    OUT.print(table(plan), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "rows",
        nargs="+",
        help="TABLE, TABLE/METHOD or TABLE/METHOD/LABELS, for example semantic_kitti/cutmix/10; "
        "key.path=value overrides a config key of all trainings",
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the unpacked dataset")
    parser.add_argument("--out", type=Path, required=True, help="output folder for lists, runs, logs and the table")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds; default: the seeds of the published mean")
    parser.add_argument("--order", type=Path, help="file of the published permutation; only Pascal VOC needs it")
    parser.add_argument("--jobs", type=whole(), default=1, help="number of parallel trainings")
    parser.add_argument("--dry-run", action="store_true", help="only list the commands, the disk space and the hours")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="only time some steps of each row on this machine; afterwards, --dry-run shows the hours",
    )
