"""Damaged files of every format: refused, said, or read as the whole ones; never a crash, a hang or a half file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from campaign.figures import Figures
from campaign.routes import ROUTES, Route
from campaign.worker import run_route

CASES, SMALL = 860, 8
"""Of a route of cost 1."""

NEEDS = {"las": "laspy", "laz": "lazrs", "bag": "rosbags", "mcap": "rosbags", "db3": "rosbags", "pcap":
         "velodyne_decoder", "onnx": "onnxruntime"}  # fmt: skip
"""What reads a format."""


def why_not(route: Route, workspace: Path) -> str | None:
    """The reason for which the cases of a route cannot be tried."""
    library = NEEDS.get(Path(route.file).suffix[1:])
    if library and not importlib.util.find_spec(library):
        return f"{library} is not installed"
    return None if (workspace / route.tree).is_dir() else "only of the full campaign"


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.name)
def test_damaged_files(route: Route, workspace: Path, full: bool, campaign_seed: int, figures: Figures) -> None:
    if reason := why_not(route, workspace):
        pytest.skip(reason)
    cases = max(2, round((CASES if full else SMALL) / route.cost))
    first = 1_000_000 * campaign_seed
    found = run_route(workspace, route.name, list(range(first, first + cases)))
    assert len(found) == cases
    for _, kind, verdict in found:
        figures.count("damaged files", route.name, verdict.kind)
        figures.count("kinds of damage", f"{kind}: {route.name}", verdict.kind)
    faults = [f"seed {seed}, {kind}: {verdict.kind}: {verdict.words}" for seed, kind, verdict in found
              if verdict.is_fault]  # fmt: skip
    assert not faults, f"{len(faults)} of {cases}:\n" + "\n".join(faults[:25])
    assert cases < 10 or any(verdict.kind in ("refused", "warned") for _, _, verdict in found)  # few may be harmless
