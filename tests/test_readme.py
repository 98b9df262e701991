"""What the README tells people to type works, here on a made-up dataset and with a very small network."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from rangeseg.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SMALL = shlex.split(
    "data.labelled=null optim.steps=2 network.width=8 data.projection.width=64 runtime.precision=32-true "
    "runtime.accelerator=cpu data.batch_labelled=2 data.batch_unlabelled=2 evaluation.every=0"
)
FURTHER = {"train": SMALL, "predict": ["--partial"]}
"""What the made-up dataset needs: a small network, and leave to have fewer scans than the official ones."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("rangeseg ")]


def test_there_are_two_set_up_commands_and_a_table_of_all_others() -> None:
    assert README.count("\nbash tools/setup.sh") == 2
    subprocess.run(["bash", "-n", ROOT / "tools" / "setup.sh"], check=True)
    documented = set(re.findall(r"^\| `([a-z-]+)[ `]", README, re.MULTILINE))
    assert {path.stem.replace("_", "-") for path in (ROOT / "tools").glob("*.py")} == documented


@pytest.mark.slow
def test_commands_and_snippet_run(tiny_kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    assert commands(), "the README has no commands"
    for _, *words in commands():
        arguments = [word.replace("/data/semantic_kitti", str(tiny_kitti)) for word in words]
        assert main([*arguments, *FURTHER.get(arguments[0], [])]) == 0, arguments
    run = next((tmp_path / "runs").rglob("best.pt")).parent
    run.rename(tmp_path / "runs" / "quick")
    shutil.copy(tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin", tmp_path)
    for snippet in blocks("python"):
        exec(compile(snippet, "README.md", "exec"), {})


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)h][^)]*)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
