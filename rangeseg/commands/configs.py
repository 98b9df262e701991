"""`rangeseg configs`: the shipped configs."""

from __future__ import annotations

import argparse

from rangeseg.commands.console import OUT, table

EXAMPLES = ("rangeseg configs", "rangeseg configs kitti")


def run(arguments: argparse.Namespace) -> None:
    """List the shipped configs, or those whose name or description contains a word."""
    from rangeseg.config.shipped import shipped_configs

    rows = table("config", "description")
    for name, path in shipped_configs().items():
        first = path.read_text("utf-8").splitlines()[0].removeprefix("#").strip()
        if arguments.word.lower() in f"{name} {first}".lower():
            rows.add_row(name, first)
    if not rows.row_count:
        raise ValueError(
            f"No shipped config has {arguments.word!r} in its name or description. rangeseg configs lists all."
        )
    OUT.print(rows)
    OUT.print(
        "Join configs with +: rangeseg train semantic_kitti+cutmix data.root=/data/semantic_kitti", soft_wrap=True
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "word", nargs="?", default="", help="list only configs whose name or description contains this word"
    )
