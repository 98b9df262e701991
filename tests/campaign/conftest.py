"""The size of the campaign, and the figures that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign import workspace as made
from campaign.figures import Figures
from campaign.warm import context


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--campaign` and `--figures`."""
    parser.addoption("--campaign", choices=("small", "full"), default="small", help="full: as results/reliability.md")
    parser.addoption("--campaign-seed", type=int, default=0, help="of the damage, and of the moments of the kills")
    parser.addoption("--workspace", type=Path, help="make the files here, or take those of an earlier campaign")
    parser.addoption("--figures", type=Path, help="write the campaign's figures to this JSON file")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """The campaign is run whole."""
    return bool(request.config.getoption("--campaign", default="small") == "full")


@pytest.fixture(scope="session")
def campaign_seed(request: pytest.FixtureRequest) -> int:
    """Of the damage and of the moments of kills."""
    return int(request.config.getoption("--campaign-seed", default=0))


@pytest.fixture(scope="session")
def all_figures(campaign_seed: int) -> Figures:
    """Of all tests."""
    return Figures(campaign_seed)


@pytest.fixture
def figures(request: pytest.FixtureRequest, all_figures: Figures) -> Iterator[Figures]:
    """What the tests count; written behind each where `--figures` says, so that a stopped campaign has its figures."""
    yield all_figures
    path = request.config.getoption("--figures", default=None)
    if path is not None:
        all_figures.write(path)


@pytest.fixture(scope="session")
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, full: bool) -> Path:
    """Files to be damaged and runs that read them; nothing changes it."""
    folder: Path = request.config.getoption("--workspace", default=None) or tmp_path_factory.mktemp("campaign")
    if (folder / "done").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    process = context().Process(target=made.make, args=(str(folder), full))
    process.start()
    process.join()
    assert (folder / "done").is_file(), f"the workspace was not made; exit code {process.exitcode}"
    return folder
