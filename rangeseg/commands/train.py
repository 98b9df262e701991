"""`rangeseg train`: training."""

from __future__ import annotations

import argparse

from rangeseg.commands.console import OUT, print_report

EXAMPLES = (
    "rangeseg train mini_kitti/quick data.root=/data/semantic_kitti",
    "rangeseg train semantic_kitti+cutmix data.root=/data/semantic_kitti --resume",
)


def run(arguments: argparse.Namespace) -> None:
    """Train a config and write its run folder."""
    from rangeseg.config import read_config
    from rangeseg.engine.training import train as work

    config = read_config(arguments.config, arguments.overrides)
    result = work(config, resume=arguments.resume)
    if result is not None:
        print_report(result, f"{config.evaluation.split}, teacher at step {config.optim.steps}", official=False)
        OUT.print(f"run folder: {config.runtime.out}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "config",
        help="a YAML, or names of shipped configs such as semantic_kitti+cutmix; key.path=value overrides keys",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint of the run folder")
