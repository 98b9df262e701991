"""What people install: the wheel and the source distribution, built here and used from a clean folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import random_scan
from documents import ROOT

from rangeseg import __version__


def build(kind: str, source: Path, out: Path) -> Path:
    """By the backend that pip would call."""
    script = f"import sys; from setuptools.build_meta import build_{kind} as b; print('made', b(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)], cwd=source, check=True, capture_output=True, text=True, timeout=240
    )
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist holds, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "checkout"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    if not any(files):
        pytest.skip(reason="the repository is not a git checkout, so its files cannot be listed")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    with tarfile.open(build("sdist", copy, folder)) as archive:
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from Python 3.11.4 on
        archive.extractall(folder, **safe)
    return folder / f"rangeseg-{__version__}"


@pytest.mark.slow
def test_the_wheel_made_of_the_sdist_works_from_anywhere(source: Path, tmp_path: Path) -> None:
    wheel = build("wheel", source, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
        metadata = archive.read(f"rangeseg-{__version__}.dist-info/METADATA").decode()
    assert {"rangeseg/py.typed", "rangeseg/vis/report/points.js", "rangeseg/vis/report/page.html"} <= names
    assert "rangeseg/_data/configs/mini_kitti.yaml" in names
    assert "rangeseg/_data/datasets/weights/first-answer.safetensors" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: <3.14,>=3.11" in metadata
    scan = random_scan(np.random.default_rng(0))
    np.column_stack([scan.xyz, scan.remission]).astype("<f4").tofile(tmp_path / "a.bin")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RANGESEG", "PYTHONPATH"))}
    environment["PYTHONPATH"] = str(tmp_path / "site")
    clean = tmp_path / "elsewhere"
    clean.mkdir()

    def run(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "rangeseg", *words]
        done = subprocess.run(
            command, cwd=clean, env=environment, check=False, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [sys.executable, "-P", "-c", "import rangeseg; print(rangeseg.__file__)"]
    place = subprocess.run(where, cwd=clean, env=environment, check=True, capture_output=True, text=True).stdout
    assert str(tmp_path / "site") in place
    assert __version__ in run("--version")
    assert "mini_kitti/quick" in run("configs")
    run("predict", str(tmp_path / "a.bin"), "--out", "labels", "--device", "cpu")
    assert (clean / "labels/a.label").stat().st_size == 4 * len(scan)


def test_the_citation_names_this_version_and_the_papers_authors() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
    assert cited["references"][0]["authors"][0]["family-names"] == "French"


def test_the_dockerfile_copies_what_the_build_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert instructions[0][0] == "FROM"
    copied = {word for kind, rest in instructions if kind == "COPY" for word in rest.split()[:-1]}
    assert {
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "rangeseg",
        "configs",
        "datasets",
    } <= copied
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for name in copied:
        assert (ROOT / name).exists()
        assert name not in ignored
