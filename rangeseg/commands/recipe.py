"""`rangeseg recipe`: training in stages."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg recipe kitti --real /data/semantic_kitti --labelled train_10pct_uniform --out runs/kitti --budget 24",
    "rangeseg recipe any-lidar --unlabelled /data/pandaset /data/rellis3d --out runs/any --dry-run",
)


def run(arguments: argparse.Namespace) -> None:
    """Train in stages: synthetic streets, real labels, mean teacher, rounds of pseudo-labels; stopped, it goes on."""
    from rangeseg.apps.recipe import STEPS, Recipe, choose, gather, known_lengths, lengths_within, summary
    from rangeseg.apps.steps import run_chains
    from rangeseg.files import write_atomically

    recipe = Recipe(
        arguments.recipe, arguments.out, arguments.real, arguments.labelled, tuple(arguments.unlabelled),
        arguments.rounds, arguments.scans, tuple(arguments.overrides),
    )  # fmt: skip
    steps = recipe.steps(known_lengths(recipe, arguments.budget) or STEPS)
    chosen = [step.name for step in choose(steps, arguments.stages)]
    if arguments.dry_run:
        for step in steps:
            state = "" if step.name in chosen else "   # not chosen"
            OUT.print(step.command + ("   # done" if step.is_done() else state), soft_wrap=True)
        return
    lengths = STEPS
    for _ in progress(gather(recipe), "gathering scans", None):
        pass
    if arguments.budget is not None:
        for _ in run_chains([steps[:1]]):
            lengths = lengths_within(recipe, arguments.budget)
        OUT.print(f"steps within {arguments.budget:g} hours: {lengths}", soft_wrap=True)
    for step in recipe.steps(lengths):
        if step.name in chosen and not step.is_done():
            OUT.print(f"{step.name}: {step.log}", soft_wrap=True)
            for _ in run_chains([[step]]):
                write_atomically(arguments.out / "table.md", summary(recipe, steps).encode())
    OUT.print(summary(recipe, steps), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("recipe", choices=["kitti", "any-lidar"], help="key.path=value overrides keys of all trainings")
    parser.add_argument("--out", type=Path, required=True, help="folder of scans, runs, pseudo-labels and logs")
    parser.add_argument("--real", type=Path, help="kitti: SemanticKITTI's folder, or a part of it")
    parser.add_argument("--labelled", default="all", help="kitti: list of its labelled scans; all: the training split")
    parser.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], help="folders of further scans without labels"
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds of pseudo-labels")
    parser.add_argument("--scans", type=int, default=400, help="synthetic scans of each of ten sequences")
    parser.add_argument(
        "--budget", type=float, metavar="HOURS", help="scale the steps to so many hours on this machine"
    )
    parser.add_argument("--stages", nargs="+", default=[], help="only these, as pretrain teacher round1")
    parser.add_argument("--dry-run", action="store_true", help="only list the commands, with their steps")
