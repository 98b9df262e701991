"""The workflow on GitHub runs the checks of tools/setup.sh on every Python that pyproject.toml allows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def job() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = workflow["jobs"]["test"]
    return found


def test_it_runs_on_every_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, end = (int(bound.split("3.")[1]) for bound in project["requires-python"].split(","))
    assert job()["strategy"]["matrix"]["python-version"] == [f"3.{minor}" for minor in range(first, end)]


def test_it_runs_the_checks_in_an_environment_of_the_chosen_python() -> None:
    """setup.sh keeps an environment that is there, and makes one with the newest Python on PATH otherwise."""
    commands = [step["run"] for step in job()["steps"] if "run" in step]
    assert commands == ["python -m venv .venv", "bash tools/setup.sh test"]
    assert "venv=$PWD/.venv\n" in (ROOT / "tools/setup.sh").read_text(encoding="utf-8")
