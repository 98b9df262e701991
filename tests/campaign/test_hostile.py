"""Bombs, pipes, links and folders in place of files; disks that are full. None hangs, none gets out of hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from campaign.figures import Figures
from campaign.hostile import BOMBS, NO_FILES
from campaign.kill_routes import KILLED, Killed
from campaign.kills import Victim
from campaign.routes import ROUTES, Route
from campaign.test_damaged_files import why_not
from campaign.worker import run_route

SMALL_ROUTES = ("kitti.bin", "label", "config.yaml")
SMALL_BOMBS = ("plain.npy", "config.yaml")


def check(root: Path, route: Route, cases: Sequence[str], part: str, figures: Figures) -> None:
    if reason := why_not(route, root):
        pytest.skip(reason)
    found = run_route(root, route.name, cases)
    for _, kind, verdict in found:
        figures.count(part, kind, verdict.kind)
    assert len(found) == len(cases)
    faults = [f"{kind}: {verdict.kind}: {verdict.words}" for _, kind, verdict in found if verdict.kind != "refused"]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)
def test_what_is_no_file_is_refused(route: Route, workspace: Path, full: bool, figures: Figures) -> None:
    if not full and route.name not in SMALL_ROUTES:
        pytest.skip("only of the full campaign")
    check(workspace, route, NO_FILES, "no files", figures)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, workspace: Path, full: bool, figures: Figures) -> None:
    if not full and name not in SMALL_BOMBS:
        pytest.skip("only of the full campaign")
    check(workspace, ROUTES[name], BOMBS[name], "bombs", figures)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"only root may mount a small disk: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


FREE_KB = (0, 4, 8, 20, 60, 160)
"""What is left on the disk."""


@pytest.mark.slow
@pytest.mark.parametrize("killed", KILLED, ids=lambda killed: killed.name)
def test_a_full_disk_leaves_no_half_file(
    killed: Killed, workspace: Path, tmp_path: Path, small_disk: Path, full: bool, figures: Figures
) -> None:
    if (not full and killed.name not in ("predict", "unpack an MCAP")) or killed.name in ("repeat", "export to .onnx"):
        pytest.skip("only of the full campaign")
    victim = Victim(workspace, killed, tmp_path / "cases")
    faults = []
    for free in FREE_KB if full else FREE_KB[1:3]:
        verdict, words = victim.on_disk(small_disk, free)
        figures.count("full disk", killed.name, verdict)
        if verdict not in ("whole", "refused"):
            faults.append(f"{free} kB free: {verdict}: {words}")
    assert not faults, "\n".join(faults)


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="there is no /dev/full")
@pytest.mark.slow
def test_what_cannot_be_written_through_is_said(workspace: Path) -> None:
    from campaign.warm import run_command

    words = ["evaluate", workspace / "run", "--device", "cpu", "--json", "/dev/full"]
    outcome = run_command(words)
    assert outcome.code == 1
    assert "No space left on device" in outcome.err
