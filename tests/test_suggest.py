"""Which scans are worth labelling next: the greedy choice beside brute force, and reach beside `propagate` itself."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from test_propagate import labels_at, write_street

from rangeseg.cli import main
from rangeseg.drive.carry import CLICK_RULES, WHOLE_RULES
from rangeseg.drive.kitti_poses import read_kitti_poses, write_kitti_poses
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.propagate import propagate
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.suggest import (
    PointSample,
    choose,
    coverage,
    labelled_in_whole,
    reached_already,
    reached_by,
    sample_drive,
    together,
    weights_of,
)
from rangeseg.drive.trajectory import Trajectory
from rangeseg.types import IGNORE, Scan

N, M = 9, 40


@pytest.fixture
def made(rng: np.random.Generator) -> tuple[list[dict], list[PointSample], list[np.ndarray]]:
    """What nine scans reach of each other, by dice; scans stand for unlike numbers of points."""
    reach: list[dict[int, np.ndarray]] = [
        {at: rng.random(M) < 0.4 for at in range(max(0, c - 2), min(N, c + 3))} for c in range(N)
    ]
    points = Scan(np.ones((M, 3), np.float32))
    samples = [PointSample(np.arange(M), points, stands_for) for stands_for in rng.integers(1, 5, N).astype(float)]
    return reach, samples, [rng.uniform(0, 1, M) for _ in range(N)]


def union(reach: list[dict], numbers: tuple[int, ...]) -> np.ndarray:
    held = np.zeros((N, M), bool)
    for number in numbers:
        for at, there in reach[number].items():
            held[at] |= there
    return held


@pytest.mark.parametrize("weighted", [False, True])
def test_the_choice_is_the_largest_gain_each_time(made: tuple, weighted: bool) -> None:
    reach, samples, weights = made
    stands = np.array([one.stands_for for one in samples])[:, None]
    worth = stands * (np.array(weights) if weighted else 1)
    chosen = list(choose(reach, samples, 5, weights=weights if weighted else None, leave_out=[4]))
    held = np.zeros((N, M), bool)
    for one in chosen:
        gains = [(worth * (union(reach, (c,)) & ~held)).sum() if c != 4 else -1 for c in range(N)]
        assert gains[one.number] == pytest.approx(max(gains))
        assert one.gain == pytest.approx((stands * (union(reach, (one.number,)) & ~held)).sum())
        held |= union(reach, (one.number,))
        assert one.coverage == pytest.approx((stands * held).sum() / (stands * np.ones((N, M))).sum())
    assert len({one.number for one in chosen}) == 5
    kept = together(reach, [one.number for one in chosen])
    assert coverage(kept, samples) == pytest.approx(chosen[-1].coverage)


def test_greedy_is_close_to_the_best_choice(made: tuple) -> None:
    """Of three scans at least 63 % of what the best three cover; here it is nearly all."""
    reach, samples, _ = made
    stands = np.array([one.stands_for for one in samples])[:, None]
    best = max((stands * union(reach, three)).sum() for three in combinations(range(N), 3))
    assert sum(one.gain for one in choose(reach, samples, 3)) >= (1 - 1 / np.e) * best


def test_what_is_covered_already_gains_nothing(made: tuple) -> None:
    reach, samples, _ = made
    first = next(choose(reach, samples, 1))
    before = together(reach, [first.number])
    rest = list(choose(reach, samples, N, covered=before))
    assert first.number not in [one.number for one in rest]
    everything = {at: np.ones(M, bool) for at in range(N)}
    assert list(choose(reach, samples, N, covered=everything)) == []


def test_weights_are_uncertainty_times_rarity() -> None:
    label = [np.array([0, 0, 0, 0, 1]), np.array([IGNORE, 0, 0, 0, 0], np.uint8)]
    entropy = [np.full(5, np.log(4)), np.full(5, np.log(2))]
    first, second = weights_of(entropy, label, 4)
    np.testing.assert_allclose(first, [1, 1, 1, 1, np.sqrt(8)])
    np.testing.assert_allclose(second, np.full(5, 0.5))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scans past two walls, a metre apart; none is labelled but number 2."""
    return write_street(tmp_path_factory.mktemp("street"), scans=12, labelled=(2,))


def test_reach_is_what_propagate_carries(street: Path, tmp_path: Path) -> None:
    """Scan 2 is labelled in whole: the points that `propagate` gives a label are those that were foretold."""
    task = make_task(Request(street, tmp_path, rules={"max_scans": 4}))
    samples = sample_drive(task)
    reach = reached_by(replace(task, labelled=()), 2, samples, task.rules)
    already = reached_already(task, samples)
    list(propagate(task))
    assert set(reach) == set(already) == {0, 1, 2, 3, 4, 5, 6}
    for number in reach:
        carried = labels_at(tmp_path, number)[samples[number].index] != 0
        np.testing.assert_array_equal(reach[number], carried)
        np.testing.assert_array_equal(already[number], carried)
    assert labelled_in_whole(task, samples) == [2]


def test_clicked_scans_may_be_labelled_next_and_cover_what_they_reach(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=6, labelled=(0, 3), clicks=200)
    task = make_task(Request(home, tmp_path / "out"))
    assert task.rules == CLICK_RULES
    samples = sample_drive(task)
    covered = reached_already(task, samples)
    list(propagate(task))
    for number, there in covered.items():
        np.testing.assert_array_equal(there, labels_at(tmp_path / "out", number)[samples[number].index] != 0)
    assert labelled_in_whole(task, samples) == []


def test_the_looked_at_points_are_the_same_in_every_run_and_never_no_returns(street: Path) -> None:
    task = make_task(Request(street, Path()))
    first, again = sample_drive(task, 1), sample_drive(task, 3)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.index, other.index)
        assert one.stands_for * len(one.index) == 1500
    assert WHOLE_RULES.min_neighbours == 1


class TestCommand:
    def test_two_places_are_suggested_in_turn(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A drive that was carried on elsewhere: one scan of each place comes first, from its middle."""
        home = write_street(tmp_path / "k", scans=10, labelled=())
        drive = read_kitti_poses(home, [f"{number:06d}" for number in range(10)])
        poses = drive.poses.copy()
        poses[6:, 0, 3] += 500
        write_kitti_poses(home, Trajectory(drive.names, poses))
        out = tmp_path / "found.json"
        assert main(["suggest", str(home), "--count", "3", "--json", str(out)]) == 0
        report = json.loads(out.read_text())
        names = [one["scan"] for one in report["suggestions"]]
        assert names[0] in {"000002", "000003"}
        assert names[1] in {"000007", "000008"}
        gains = [one["gain"] for one in report["suggestions"]]
        assert gains == sorted(gains, reverse=True)
        shares = [one["coverage"] for one in report["suggestions"]]
        assert shares == pytest.approx(np.cumsum(gains) / report["points"], abs=1e-4)
        assert report["covered_before"] == 0
        assert "labels of 0 scans cover 0.0 %" in " ".join(capsys.readouterr().out.split())

    def test_a_labelled_scan_is_left_out(self, street: Path, tmp_path: Path) -> None:
        out = tmp_path / "found.json"
        assert main(["suggest", str(street), "--count", "12", "--max-scans", "3", "--json", str(out)]) == 0
        report = json.loads(out.read_text())
        assert report["covered_before"] > 0.3
        assert "000002" not in [one["scan"] for one in report["suggestions"]]
        assert report["suggestions"][0]["scan"] in {"000008", "000009"}

    def test_what_is_wrong_is_said(self, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def error(*words: str) -> str:
            assert main(["suggest", *words]) == 1
            return " ".join(capsys.readouterr().err.split())

        assert "--count is 0. Give 1 or more" in error(str(street), "--count", "0")
        assert "has no poses.txt" in error(str(street), "--poses", str(tmp_path))
        assert "is not a folder. Give the folder of a sequence" in error(str(tmp_path / "none"))
        assert "max_distance_m is -1.0" in error(str(street), "--max-distance-m", "-1")

    def test_a_network_says_where_it_is_unsure_and_what_is_rare(self, kitti_root: Path, tmp_path: Path) -> None:
        out, home = tmp_path / "found.json", kitti_root / "sequences" / "00"
        assert main(["suggest", str(home), "--labelled", "000000", "--run", "kitti", "--count", "2", "--json", str(out),
                     "--device", "cpu"]) == 0  # fmt: skip
        report = json.loads(out.read_text())
        assert report["covered_before"] > 0.85
        assert "000000" not in [one["scan"] for one in report["suggestions"]]
        names = open_drive(home).label_map.names
        for one in report["suggestions"]:
            assert 0.1 < one["entropy"] < np.log(19)
            assert set(one["rare"]) < set(names) - {"road", "vegetation", "building"}
