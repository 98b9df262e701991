"""A point head for a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg fit-head runs/quick",
    "rangeseg fit-head runs/quick --steps 300 --out head.pt",
)


def run(arguments: argparse.Namespace) -> None:
    """Fit a small network that labels points by what the run says of the pixels around them, in the place of KNN."""
    from rangeseg.apps.fit_head import fit_head
    from rangeseg.inference.run import Run

    loaded = Run.load(arguments.run, device="cpu", overrides=arguments.overrides)
    out = arguments.out or (arguments.run if arguments.run.is_dir() else arguments.run.parent) / "point_head.pt"
    options = {name: getattr(arguments, name) for name in ("steps", "scans", "window", "seed")}
    fit_head(loaded, out, watch=progress, **options)
    OUT.print(f"{out}: evaluation.back_projection='{{name: head, file: {out}}}' uses it.", soft_wrap=True, markup=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--out", type=Path, help="the head's file; RUN/point_head.pt if not given")
    parser.add_argument("--steps", type=int, default=600, help="of the optimiser")
    parser.add_argument("--scans", type=int, default=100, help="learn from so many of the run's labelled scans")
    parser.add_argument("--window", type=int, default=5, help="side of the window of neighbours, pixels, odd")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
