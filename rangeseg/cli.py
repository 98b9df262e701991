"""The `rangeseg` command. Each subcommand is a thin shell over the library; `python -m rangeseg` is the same.

rangeseg demo [--out DIR] [--real DATA]
rangeseg train CONFIG [key.path=value ...] [--resume]
rangeseg evaluate RUN [key.path=value ...] [--official] [--json FILE]
rangeseg predict RUN [INPUT ...] --out DIR [--split test] [--zip FILE]
rangeseg export RUN [INPUT ...] --out FILE.onnx
rangeseg import-weights FILE ... --config CONFIG --out RUN [--network NAME]
rangeseg show SCAN [--labels FILE] [--run RUN | --prediction FILE] [--png FILE]
rangeseg show perturbation NAME|CONFIG ... --png FILE|DIR
rangeseg report RUN ... [--out FILE.html]
rangeseg split --out DIR [--by frame|block|permutation] [--seed N]
rangeseg stats CONFIG [--out FILE.yaml]
rangeseg validate DATASET|CONFIG [--root DIR]
rangeseg synthesise --out DIR [--sequences 00 01 ...] [--sensor NAME]
rangeseg unpack RECORDING --out DIR [--topic NAME]
rangeseg analyse patch-distance CONFIG --out DIR
rangeseg fit-head RUN [--out FILE] [--steps N] [--scans N] [--window N] [--seed N]
rangeseg fit-sensor SCAN ... --out FILE.yaml [--png FILE] [--beside SENSOR ...]
rangeseg benchmark DATA [--configs CONFIG ... | --inference RUN|CONFIG ...] | --photos CONFIG [--json FILE]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields

from rich.console import Console

from rangeseg.commands import COMMANDS
from rangeseg.config import Config
from rangeseg.version import __version__

OVERRIDE = re.compile(rf"([a-z_]+(\.[a-z_]+)+|{'|'.join(field.name for field in fields(Config))})=")
"""`key.path=value`, or a whole section: ``perturbation={name: cutmix, area: 0.3}``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error the user can mend, said in one line on standard error.
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run_command(arguments)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if arguments.debug:
            raise
        Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", style="red", soft_wrap=True)
        return 1
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for: the command's arguments, and `key.path=value` words as `overrides`."""
    overrides = [word for word in words if OVERRIDE.match(word)]
    arguments = _parser().parse_args([word for word in words if word not in overrides])
    arguments.overrides = overrides
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rangeseg", description="Semi-supervised LiDAR segmentation in the range view."
    )
    parser.add_argument("--version", action="version", version=f"rangeseg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        said = command.run.__doc__
        added = commands.add_parser(name, help=said.splitlines()[0], description=said)
        command.add_arguments(added)
        added.set_defaults(run_command=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
