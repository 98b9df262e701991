"""`rangeseg repeat`: several configs with several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress, whole
from rangeseg.files import write_atomically

EXAMPLES = (
    "rangeseg repeat mini_kitti/quick --out runs/seeds data.root=/data/semantic_kitti",
    "rangeseg repeat semantic_kitti+cutmix semantic_kitti+supervised --seeds 0 1 --jobs 2 --out runs/both",
)


def run(arguments: argparse.Namespace) -> None:
    """Train configs with several seeds and tabulate mean and spread.

    OUT/table.md has the configs and seeds of the last call.
    """
    from rangeseg.apps.repeat import curves, make_jobs, run_jobs, table
    from rangeseg.vis.plots import Axes, plot
    from rangeseg.vis.png import write_png

    jobs = make_jobs(arguments.configs, arguments.seeds, arguments.out)
    done = run_jobs(jobs, arguments.overrides, parallel=arguments.jobs)
    finished = []
    for job in progress(done, "training", len(jobs)):
        finished.append(job)
        write_atomically(arguments.out / "table.md", (table(finished) + "\n").encode())
    if lines := curves(jobs):
        axes = Axes("while training, mean over seeds", "steps", "mIoU % on the validation split", legend="bottom")
        write_png(arguments.out / "curves.png", plot(lines, axes))
        OUT.print(f"curves: {arguments.out / 'curves.png'}", soft_wrap=True)
    OUT.print((arguments.out / "table.md").read_text(), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "configs", nargs="+", help="configs as for rangeseg train; key.path=value overrides keys of all of them"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder; it gets one run folder for each config and seed"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="train one run for each of these seeds")
    parser.add_argument("--jobs", type=whole(), default=1, help="number of parallel trainings")
