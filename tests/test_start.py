"""The command line answers at once, and helps: what is imported is counted, not timed."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields

import pytest

from rangeseg.catalog import NETWORKS, PERTURBATIONS
from rangeseg.cli import SECTIONS, main, make_parser, parse
from rangeseg.commands import COMMANDS
from rangeseg.commands.console import lines_of_progress
from rangeseg.config import Config

HEAVY = (
    "torch",
    "lightning_fabric",
    "tensorboard",
    "omegaconf",
    "rich",
    "numba",
    "PIL",
    "open3d",
    "matplotlib",
    "yaml",
)
RUN = "import sys; from rangeseg.cli import main\ntry: main({words!r})\nexcept SystemExit: pass"


def imported(code: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter has imported after some code."""
    code += f"\nimport sys; sys.stderr.write('IMPORTED ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("IMPORTED ")[2].split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported("import rangeseg; dir(rangeseg)") == set()


def test_reading_a_scan_needs_no_torch() -> None:
    assert imported("from rangeseg import read_scan, LabelMap, Scan") <= {"numba", "yaml"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["train", "--help"], ["list", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    assert imported(RUN.format(words=words)) == set()


def test_a_mistyped_command_imports_only_what_prints_it() -> None:
    assert imported(RUN.format(words=["trian"])) == {"rich"}


@pytest.mark.parametrize(
    "kind", ["networks", "perturbations", "methods", "datasets", "projections", "back-projections"]
)
def test_components_are_listed_without_importing_them(kind: str) -> None:
    assert imported(RUN.format(words=["list", kind])) == {"rich"}


def test_every_public_name_is_there() -> None:
    import rangeseg

    assert set(rangeseg.__all__) <= set(dir(rangeseg))
    assert all(getattr(rangeseg, name) is not None for name in rangeseg.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Segmentor'"):
        _ = rangeseg.Segmentor  # type: ignore[attr-defined]


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_mistyped_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown command 'trian'. Did you mean 'train'?" in refused(["trian", "x.yaml"], capsys)


def test_a_key_written_as_an_option_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown option --steps. Write the config key as optim.steps=VALUE" in refused(
        ["train", "x.yaml", "--steps", "3"], capsys
    )
    for command, old, new in (("stats", "frames", "subset"), ("fit-sensor", "beside", "compare-with")):
        words = [command, "x", f"--{old}", "y", "--out", "z"]
        assert f"--{old} was renamed to --{new} in version 0.2" in refused(words, capsys)
    assert "unrecognized arguments: --stepz" in refused(["train", "x.yaml", "--stepz", "3"], capsys)


def test_ctrl_c_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["list"], "run", interrupt)
    interrupt.__doc__ = "Stop."
    assert main(["list", "networks"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_two_examples_that_parse(name: str) -> None:
    assert len(COMMANDS[name].EXAMPLES) == 2
    for example in COMMANDS[name].EXAMPLES:
        words = shlex.split(example.split(" > ")[0])
        assert words[:2] == ["rangeseg", name]
        parse(words[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_options_say_what_they_are_and_their_defaults(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = (action for action in make_parser()._actions if action.choices)
    assert isinstance(commands.choices, dict)
    parser = commands.choices[name]
    shown = " ".join(parser.format_help().split())
    for action in parser._actions:
        assert action.help, f"{name} {action.option_strings or action.dest}"
        if action.option_strings and action.default not in (None, False, [], "==SUPPRESS=="):
            default = " ".join(map(str, action.default)) if isinstance(action.default, list) else str(action.default)
            assert f"(default: {default})" in shown
    assert "examples:" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_no_sections_of_docstrings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert not re.search(r"^(Args|Returns|Yields|Raises):", capsys.readouterr().out, re.MULTILINE)


def test_the_keys_that_may_be_overridden_are_those_of_a_config() -> None:
    assert {field.name for field in fields(Config)} == set(SECTIONS)


def test_lists_name_every_component(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "perturbations"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in PERTURBATIONS)
    assert all(NETWORKS.summary(name) for name in NETWORKS)
    assert main(["list", "sensors"]) == 0
    assert "hdl64e" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_name_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="completion is an extra")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "fit-sensor" in script
    assert "--resume" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_without_a_terminal_lines_say_how_far_it_is_and_how_long_it_takes() -> None:
    now, said = 0.0, []

    def work() -> Iterator[int]:
        nonlocal now
        for number in range(100):
            now += 3
            yield number

    assert list(lines_of_progress(work(), "training", 100, said.append, clock=lambda: now)) == list(range(100))
    assert said[0] == "training: 7/100, 0:04:39 left"
    assert said[-1] == "training: 100/100 in 0:05:00"
    assert len(said) == 100 * 3 // 21 + 1
    said.clear()
    assert list(lines_of_progress(iter([1, 2]), "reading", None, said.append)) == [1, 2]
    assert said == ["reading: 2 in 0:00:00"]


def test_freed_memory_is_kept_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-c", "from rangeseg.commands.memory import keep_freed_memory; print(keep_freed_memory())"]
    glibc = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == str(glibc)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "False"
