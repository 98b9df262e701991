"""`rangeseg completion`: shell completion."""

from __future__ import annotations

import argparse

from rangeseg.commands.console import OUT

EXAMPLES = (
    "rangeseg completion bash > ~/.local/share/bash-completion/completions/rangeseg",
    "rangeseg completion zsh > ~/.zfunc/_rangeseg",
)


def run(arguments: argparse.Namespace) -> None:
    """Print a script that completes commands and options in bash, zsh or tcsh."""
    try:
        import shtab
    except ImportError as error:
        raise ImportError('Shell completion needs shtab: pip install "rangeseg[completion]".') from error
    OUT.print(shtab.complete(arguments.parser, shell=arguments.shell), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell")
