"""`rangeseg train`: training."""

from __future__ import annotations

import argparse
from typing import Literal

from rangeseg.commands.console import OUT, command_line, print_report

EXAMPLES = (
    "rangeseg train mini_kitti/quick data.root=/data/semantic_kitti",
    "rangeseg train semantic_kitti+cutmix data.root=/data/semantic_kitti --resume auto",
)

RESUME: dict[str, bool | Literal["auto"]] = {"no": False, "yes": True, "auto": "auto"}


def run(arguments: argparse.Namespace) -> None:
    """Train a config and write its run folder."""
    from rangeseg.config import read_config
    from rangeseg.engine.training import train as work

    config = read_config(arguments.config, arguments.overrides)
    result = work(config, resume=RESUME[arguments.resume])
    if result is not None:
        print_report(result, f"{config.evaluation.split}, teacher at step {config.optim.steps}", official=False)
        OUT.print(f"run folder: {config.runtime.out}", soft_wrap=True)
        OUT.print(f"next: {command_line('rangeseg', 'report', config.runtime.out)}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "config",
        help="a YAML, or names of shipped configs such as semantic_kitti+cutmix; key.path=value overrides keys",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="yes",
        default="no",
        choices=RESUME,
        metavar="auto",
        help="continue from the last checkpoint of the run folder; auto: or start if there is none",
    )
