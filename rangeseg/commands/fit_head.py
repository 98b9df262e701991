"""`rangeseg fit-head`: a point head for a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, progress, values_of, whole

EXAMPLES = (
    "rangeseg fit-head runs/quick",
    "rangeseg fit-head runs/quick --steps 300 --out head.pt",
)


def run(arguments: argparse.Namespace) -> None:
    """Fit a small network that labels points from the logits of the pixels around them and replaces KNN."""
    from rangeseg.apps.fit_head import fit_head
    from rangeseg.inference.run import Run

    loaded = Run.load(arguments.run, device="cpu", overrides=arguments.overrides, trust=arguments.trust)
    out = arguments.out or (arguments.run if arguments.run.is_dir() else arguments.run.parent) / "point_head.pt"
    fit_head(loaded, out, progress=progress, **values_of(arguments, "steps", "scans", "window", "seed"))
    OUT.print(f"{out}: evaluation.back_projection='{{name: head, file: {out}}}' uses it.", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--out", type=Path, help="output file; default: RUN/point_head.pt")
    parser.add_argument("--steps", type=whole(), default=600, help="number of optimiser steps")
    parser.add_argument("--scans", type=whole(), default=100, help="number of the run's labelled scans to train on")
    parser.add_argument(
        "--window", type=int, default=5, help="side length of the window of neighbours in pixels; an odd number"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    add_trust(parser)
