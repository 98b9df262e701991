"""The `rangeseg` command; `python -m rangeseg` is the same. Each subcommand is a thin layer over the library.

Large packages are imported only when a command runs, so that help, version and usage errors are fast.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from rangeseg.commands import COMMANDS
from rangeseg.commands.console import check_outputs
from rangeseg.paths import expand_home
from rangeseg.registry import did_you_mean
from rangeseg.version import __version__

SECTIONS = (
    *("preset", "data", "network", "supervised", "perturbation", "method", "consistency", "teacher", "optim"),
    *("evaluation", "runtime"),
)
"""The top-level keys of a config. Each can be overridden as a whole: ``perturbation={name: cutmix, area: 0.3}``."""

OVERRIDE = re.compile(rf"([a-z_]+(\.[a-z_]+)+|{'|'.join(SECTIONS)})=")
"""Matches the start of `key.path=value` and of `section=value`."""

SECTION_OF_DOCSTRING = re.compile(r"\n\n(?:Args|Returns|Yields|Raises):\n")
"""Matches the start of the part of a docstring that is not for the users of a command."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells: 128 + SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 1 after an error that the user can fix, printed in one line on standard error; 130 after
        Ctrl-C; 143 after a SIGTERM that the command handled. Wrong usage exits with 2.
    """
    if argv is None:  # the process runs only this command
        from rangeseg.commands.memory import keep_freed_memory

        keep_freed_memory()
    try:
        return _main(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt as error:
        code = error.args[1] if len(error.args) == 2 else INTERRUPTED  # the code of a `Stopped`
        return _say(str(error) or "stopped", code)


def _main(words: Sequence[str]) -> int:
    if not words:
        make_parser().print_help()
        return 0
    arguments = parse(words)
    from rangeseg.commands.console import notices_as_lines

    try:
        with notices_as_lines():
            check_outputs(arguments, arguments.command)
            arguments.run_command(arguments)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if arguments.debug:
            raise
        return _say(f"error: {error}", 1)
    except MemoryError as error:
        if arguments.debug:
            raise
        return _say(f"error: not enough memory ({error or 'a file needs more memory than is available'}).", 1)
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line: the command's arguments, with `key.path=value` words as `overrides`."""
    overrides = [word for word in words if OVERRIDE.match(word)]
    rest = [word for word in words if word not in overrides]
    command = next((word for word in rest if not word.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        sys.exit(_say(f"error: unknown command {command!r}. {did_you_mean(command, list(COMMANDS))}", 2))
    arguments = make_parser().parse_args([*_resume_words(rest)] if command == "train" else rest)
    for name, value in vars(arguments).items():
        setattr(arguments, name, expand_home(value))
    arguments.overrides = overrides
    return arguments


def _resume_words(words: Sequence[str]) -> Iterator[str]:
    """Write `--resume auto` as `--resume=auto` and `--resume` as `--resume=yes`, so that it takes no other word."""
    for before, word, after in zip(["", *words[:-1]], words, [*words[1:], ""], strict=True):
        if word == "--resume":
            yield f"--resume={'auto' if after == 'auto' else 'yes'}"
        elif (before, word) != ("--resume", "auto"):
            yield word


RENAMED_OPTIONS = {"frames": "subset", "beside": "compare-with", "most": "max-scans"}
"""Options of version 0.1 and their present names."""


class _Parser(argparse.ArgumentParser):
    """A parser whose error for an unknown option names the option's new name, or the config key."""

    def error(self, message: str) -> NoReturn:
        if unknown := re.match(r"unrecognized arguments: --([a-z_-]+)", message):
            from rangeseg.config import keys

            name = unknown[1].replace("-", "_")
            if name in RENAMED_OPTIONS:
                message = f"--{name} was renamed to --{RENAMED_OPTIONS[name]} in version 0.2"
            elif meant := [key for key in keys() if key.rpartition(".")[2] == name]:
                written = " or ".join(f"{key}=VALUE" for key in meant)
                message = f"unknown option --{unknown[1]}. Write the config key as {written}"
        super().error(message)


class _Help(argparse.RawDescriptionHelpFormatter):
    """A help formatter that adds the default of each option, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        shown = default is not None and default is not False and default != [] and default is not argparse.SUPPRESS
        return f"{action.help} (default: {_plain(default)})" if shown and action.option_strings else action.help


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="rangeseg",
        description="Semi-supervised LiDAR segmentation in the range view.",
        epilog="rangeseg COMMAND --help shows the options of a command. key.path=value overrides a config key.",
    )
    parser.add_argument("--version", action="version", version=f"rangeseg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        description = SECTION_OF_DOCSTRING.split(inspect.cleandoc(command.run.__doc__))[0]
        examples = "\n".join(["examples:", *(f"  {example}" for example in command.EXAMPLES)])
        added = commands.add_parser(
            name, help=description.splitlines()[0], description=description, epilog=examples, formatter_class=_Help
        )
        command.add_arguments(added)
        added.set_defaults(run_command=command.run, parser=parser, command=name)
    return parser


def _say(words: str, code: int) -> int:
    """Print one line to standard error and return the exit code."""
    from rangeseg.commands.console import say

    say(words, "red")
    return code


if __name__ == "__main__":
    sys.exit(main())
