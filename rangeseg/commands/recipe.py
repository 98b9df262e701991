"""`rangeseg recipe`: training in stages."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg recipe kitti --real /data/semantic_kitti --labelled train_10pct_uniform --out runs/kitti --budget 24",
    "rangeseg recipe any-lidar --unlabelled /data/my_scans /data/more_scans --out runs/any --dry-run",
)


def run(arguments: argparse.Namespace) -> None:
    """Train in stages: synthetic streets, real labels, mean teacher and, on request, rounds of pseudo-labels.

    If you stop the command, run it again to continue.
    """
    from rangeseg.apps.gathered import gather
    from rangeseg.apps.recipe import STEPS, Recipe, choose, known_lengths, lengths_within, summary
    from rangeseg.apps.steps import run_chains
    from rangeseg.data.semantic_kitti import SemanticKitti
    from rangeseg.files import write_atomically

    recipe = Recipe(
        arguments.recipe, arguments.out, arguments.real, arguments.labelled, tuple(arguments.unlabelled),
        arguments.rounds, arguments.scans, tuple(arguments.overrides), arguments.votes,
    )  # fmt: skip
    known = known_lengths(recipe, arguments.budget)
    steps = recipe.steps(known or STEPS)
    chosen = [step.name for step in choose(steps, arguments.stages)]
    if arguments.dry_run:
        for step in steps:
            state = "" if step.name in chosen else "   # not chosen"
            OUT.print(step.command + ("   # done" if step.is_done() else state), soft_wrap=True)
        if known is None:
            OUT.print("# --budget scales optim.steps when it has timed some steps, which --dry-run does not do")
        return
    if recipe.real is not None:
        SemanticKitti(recipe.real, "train", labels=False)  # an error before the streets are made
    lengths = STEPS
    if recipe.unlabelled:
        for _ in progress(gather(recipe.unlabelled, recipe.out / "gathered"), "gathering scans", None):
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
    parser.add_argument(
        "recipe", choices=["kitti", "any-lidar"], help="name; key.path=value overrides a config key of all trainings"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder for scans, runs, pseudo-labels and logs")
    parser.add_argument("--real", type=Path, help="kitti: SemanticKITTI's folder, or a part of it")
    parser.add_argument(
        "--labelled", default="all", help="kitti: list of the labelled scans, or all: the whole training split"
    )
    parser.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], help="folders of further scans without labels; default: none"
    )
    parser.add_argument("--rounds", type=int, default=0, help="number of rounds of pseudo-labels")
    parser.add_argument(
        "--votes",
        type=int,
        default=2,
        help="average the probabilities with those of N scans before and after, if all scans have poses; 0: do not",
        metavar="N",
    )
    parser.add_argument("--scans", type=int, default=400, help="number of synthetic scans in each of eleven sequences")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="HOURS",
        help="scale the steps so that the recipe takes HOURS on this machine; default: do not scale",
    )
    parser.add_argument(
        "--stages", nargs="+", default=[], help="only these stages, for example pretrain teacher; default: all"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the commands")
