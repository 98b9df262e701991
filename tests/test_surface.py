"""Labels spread along surfaces: the kernel beside a plain oracle, where classes end, and the drive as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_propagate import labels_at, write_street

from rangeseg.benchmark.propagate import measure
from rangeseg.data.evidence import CARRIED, read_evidence
from rangeseg.drive import surface
from rangeseg.drive.carry import CLICK_RULES, NEAREST_CLICK_RULES, Rules, rules_for
from rangeseg.drive.propagate import propagate
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.surface import Surface, Voxels, spread
from rangeseg.kernels.neighbours import OFFSET, number_voxels
from rangeseg.kernels.surface import edge_length, edges_of, scatter_of, two_shortest_paths
from rangeseg.types import Scan

SCALES = (0.05, 0.2, 0.1, 3.0)


def oracle(voxels: np.ndarray, neighbours: np.ndarray, seeds: tuple, classes: int) -> np.ndarray:
    """(V, classes) length of the shortest path from each class, by relaxing all edges until nothing changes."""
    pairs = {(a, b) for a, row in enumerate(neighbours) for b in row if b >= 0 and b != a}
    pairs |= {(b, a) for a, b in pairs}
    found = np.full((len(voxels), classes), np.inf)
    for node, label, way in zip(*seeds, strict=True):
        found[node, label] = min(found[node, label], way)
    for _ in range(len(voxels)):
        before = found.copy()
        for a, b in pairs:
            p, q = voxels[a], voxels[b]
            extra = ((1 - abs(p[3:6] @ q[3:6])) / SCALES[1]) ** 2 + ((p[6] - q[6]) / SCALES[2]) ** 2
            length = max(float(np.linalg.norm(p[:3] - q[:3])), SCALES[0]) + min(SCALES[3], extra)
            assert edge_length(p, q, SCALES) == pytest.approx(length)
            found[b] = np.minimum(found[b], found[a] + length)
        if (found == before).all():
            return found
    raise AssertionError("does not end")


@pytest.mark.parametrize("seed", range(5))
def test_paths_are_the_shortest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 60
    normals = rng.normal(size=(count, 3))
    voxels = np.concatenate(
        [rng.uniform(0, 3, (count, 3)), normals / np.linalg.norm(normals, axis=1)[:, None], rng.random((count, 1))], 1
    )
    neighbours = rng.integers(-1, count, (count, 3)).astype(np.int32)
    seeds = (rng.integers(0, count, 9), rng.integers(0, 3, 9).astype(np.uint8), rng.uniform(0, 0.3, 9))
    limit = 8.0
    nearest, length, other = two_shortest_paths(voxels, *edges_of(neighbours), seeds, SCALES, limit)
    by_class = oracle(voxels, neighbours, seeds, 3)
    expected = np.sort(np.where(by_class <= limit, by_class, np.inf))
    np.testing.assert_allclose(length, expected[:, 0])
    np.testing.assert_allclose(other, expected[:, 1])
    assert np.isfinite(other).any()
    assert not np.isfinite(other).all()
    there = nearest >= 0
    np.testing.assert_array_equal(there, np.isfinite(length))
    np.testing.assert_array_equal(seeds[1][nearest[there]], by_class.argmin(1)[there])


def test_every_edge_appears_once_in_either_direction(rng: np.random.Generator) -> None:
    neighbours = np.array([rng.choice(40, 4, replace=False) for _ in range(40)], np.int32)
    neighbours[3] = -1
    start, ends = edges_of(neighbours)
    listed = [(a, int(b)) for a in range(40) for b in ends[start[a] : start[a + 1]]]
    pairs = {(a, int(b)) for a, row in enumerate(neighbours) for b in row if b >= 0 and b != a}
    assert sorted(listed) == sorted(pairs | {(b, a) for a, b in pairs})


def floor(size: float = 6.0, step: float = 0.15) -> np.ndarray:
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(0, size, step), np.arange(0, size, step)))
    return np.stack([x, y, np.zeros_like(x)], 1).astype(np.float32)


def spread_over(
    xyz: np.ndarray, clicks: np.ndarray, label: list[int], remission: np.ndarray | float = 0.0, voxel_m: float = 0.3
) -> Surface:
    scan = Scan(xyz, np.broadcast_to(np.float32(remission), len(xyz)).astype(np.float32))
    parts, classes = [Voxels.of(scan, np.ones(len(xyz), bool), voxel_m)], np.array(label, np.uint8)
    return spread(parts, clicks.astype(np.float32), classes, 9.0, 0.6, voxel_m=voxel_m)


def test_classes_end_where_the_surface_bends() -> None:
    """A floor and a wall: the click on the wall is nearer to most of the floor than the click on the floor."""
    ground = floor()
    wall = np.stack([np.zeros(len(ground), np.float32), ground[:, 1], ground[:, 0] + 0.15], 1)
    points = np.concatenate([ground, wall])
    found = spread_over(points, np.array([[5.0, 3, 0], [0, 3, 0.8]]), [0, 1])
    seed, _, share = found.at(points)
    truth = np.repeat([0, 1], len(ground))
    away = np.abs(points[:, 0] + points[:, 2]) > 0.6  # the voxels of the edge itself hold both
    straight = np.linalg.norm(points[:, None] - np.array([[5.0, 3, 0], [0, 3, 0.8]]), axis=2).argmin(1)
    kept = share >= 0.6
    assert np.mean(kept) > 0.75
    assert np.mean((seed == truth)[kept & away]) > 0.97
    assert np.mean((seed == truth)[away]) > np.mean((straight == truth)[away]) + 0.05


def test_classes_end_where_the_remission_changes() -> None:
    ground = floor()
    truth = (ground[:, 0] > 4.5).astype(int)
    found = spread_over(ground, np.array([[0.5, 3, 0], [4.8, 3, 0]]), [0, 1], np.where(truth, 0.6, 0.2))
    away = np.abs(ground[:, 0] - 4.5) > 0.3
    seed = found.at(ground)[0]
    assert np.mean(seed[away] == truth[away]) > 0.97
    plain = spread_over(ground, np.array([[0.5, 3, 0], [4.8, 3, 0]]), [0, 1]).at(ground)[0]
    assert np.mean(plain[away] == truth[away]) < 0.8  # without the remission, half-way


def test_smaller_voxels_end_a_class_nearer_to_the_foot_of_a_pole(rng: np.random.Generator) -> None:
    """The lowest half metre of a pole of 0.1 m radius on a floor, and the floor around it."""
    ground = floor(step=0.05) - np.float32([3, 3, 0])
    turn, height = rng.uniform(0, 2 * np.pi, 4000), rng.uniform(0.03, 2, 4000)
    pole = np.stack([0.1 * np.cos(turn), 0.1 * np.sin(turn), height], 1).astype(np.float32)
    points, truth = np.concatenate([ground, pole]), np.repeat([0, 1], [len(ground), len(pole)])
    near = (np.linalg.norm(points[:, :2], axis=1) < 0.5) & (points[:, 2] < 0.5)
    right = {}
    for voxel_m in (0.3, 0.15):
        seed, _, share = spread_over(points, np.array([[1.0, 0, 0], [0.1, 0, 1.0]]), [0, 1], 0.0, voxel_m).at(points)
        right[voxel_m] = np.mean(((seed == truth) & (share >= 0.6))[near])
    assert right[0.15] > right[0.3] + 0.1


def test_paths_through_leaves_have_similar_lengths_in_smaller_voxels(rng: np.random.Generator) -> None:
    """Points anywhere in a box: normals and remissions are noise. Without `_scales`: 1.5 and 0.2."""
    leaves = rng.uniform((-3, -3, -1), (3, 3, 1), (20000, 3)).astype(np.float32)
    remission = rng.normal(0.4, 0.1, len(leaves))
    large, small = (spread_over(leaves, np.zeros((1, 3)), [0], remission, one).at(leaves)[1] for one in (0.3, 0.15))
    both = np.isfinite(large) & np.isfinite(small)
    assert 0.8 < np.median(small[both] / large[both]) < 1.3
    assert np.isfinite(small).mean() > 0.4 * np.isfinite(large).mean()


def test_the_unit_of_the_remission_does_not_matter() -> None:
    ground, clicks = floor(), np.array([[0.5, 3, 0], [4.8, 3, 0]])
    remission = np.where(ground[:, 0] > 4, 0.6, 0.2)
    one, other = (spread_over(ground, clicks, [0, 1], scale * remission).at(ground) for scale in (1, 256))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("value", [0.1, 1.0, 199.7, np.nan])
def test_a_sensor_without_remission_has_paths_of_metres(value: float) -> None:
    ground, clicks = floor(), np.array([[0.5, 3, 0], [4.8, 3, 0]])
    for a, b in zip(*(spread_over(ground, clicks, [0, 1], one).at(ground) for one in (0.0, value)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_no_label_crosses_a_gap_or_lies_beyond_the_limit() -> None:
    ground = floor()
    apart = np.concatenate([ground, ground + np.float32([0, 0, 5])])
    seed, length, _ = spread_over(apart, np.array([[3.0, 3, 0]]), [4]).at(apart)
    assert (seed[: len(ground)] == 0).all()
    assert (seed[len(ground) :] == -1).all()
    straight = np.linalg.norm(ground - [3, 3, 0], axis=1)
    assert (length[: len(ground)] > straight - 2 * surface.VOXEL_M).all()
    assert (length[: len(ground)] < 1.3 * straight + 2 * surface.VOXEL_M).all()


def test_equal_distances_agree_by_half_and_nothing_is_nothing() -> None:
    ground = floor()
    click = np.array([[3.0, 3, 0], [3.0, 3, 0]])
    _, _, share = spread_over(ground, click, [0, 1]).at(ground)
    np.testing.assert_allclose(share, 0.5)
    none = spread_over(ground, np.empty((0, 3)), [])
    assert (none.at(ground)[0] == -1).all()
    nowhere = Voxels(np.empty((0, 3), np.float32), np.empty(0, np.float32), np.empty(0, np.float32))
    empty = spread([nowhere], click.astype(np.float32), np.array([0, 1], np.uint8), 9.0, 0.6)
    assert (empty.at(ground)[0] == -1).all()
    assert none.at(np.full((2, 3), np.nan, np.float32))[0].tolist() == [-1, -1]


def test_voxels_are_means(rng: np.random.Generator) -> None:
    xyz, remission = rng.uniform(-3, 3, (2000, 3)).astype(np.float32), rng.random(2000).astype(np.float32)
    returns = rng.random(2000) < 0.8
    found = Voxels.of(Scan(xyz, remission), returns)
    cells: dict[tuple, list[int]] = {}
    for n in np.flatnonzero(returns):
        cells.setdefault(tuple(np.floor(xyz[n] / np.float32(surface.VOXEL_M)).astype(int)), []).append(n)
    expected = sorted((*xyz[one].mean(0), remission[one].mean(), len(one)) for one in cells.values())
    got = sorted(zip(*found.xyz.T, found.remission, found.count, strict=True))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spread_m", [0.0, 2.0, 300.0, 0.9 * OFFSET])
def test_voxels_are_numbered_in_the_order_of_their_first_points(rng: np.random.Generator, spread_m: float) -> None:
    xyz = rng.uniform(-spread_m, spread_m, (3000, 3)).astype(np.float32)
    number, count = number_voxels(xyz, np.float32(1))
    first, expected = {}, []
    for cell in map(tuple, np.floor(xyz)):
        expected.append(first.setdefault(cell, len(first)))
    assert count == len(first)
    np.testing.assert_array_equal(number, expected)


def test_no_point_has_no_voxel() -> None:
    number, count = number_voxels(np.empty((0, 3), np.float32), np.float32(1))
    assert (len(number), count) == (0, 0)


def test_scatter_is_that_of_the_neighbours(rng: np.random.Generator) -> None:
    places = rng.uniform(-80, 80, (50, 3)).astype(np.float32)
    neighbours = rng.integers(-1, 50, (50, 7)).astype(np.int32)
    neighbours[0], neighbours[1, 1:] = -1, -1
    for one, row in zip(scatter_of(places, neighbours), neighbours, strict=True):
        around = places[row[row >= 0]].astype(np.float64)
        away = around - around.mean(0) if len(around) else around
        np.testing.assert_allclose(one, away.T @ away, atol=1e-8)


def test_threads_and_a_stop_do_not_change_the_labels(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=9, labelled=(0, 3, 8), clicks=60)
    tasks = {name: make_task(Request(home, tmp_path / name)) for name in ("a", "b", "c")}
    assert tasks["a"].rules == CLICK_RULES
    for name, workers in (("a", 0), ("b", 3), ("c", 2)):
        list(propagate(tasks[name], workers=workers))
    for number in (0, 4, 7):
        tasks["c"].label_file(number).unlink()
    assert sorted(propagate(tasks["c"])) == list(range(9))
    for number in range(9):
        for name in ("b", "c"):
            np.testing.assert_array_equal(labels_at(tmp_path / "a", number), labels_at(tmp_path / name, number))
        carried = read_evidence(tasks["a"].evidence_file(number))
        there = carried["kind"] == CARRIED
        assert (carried["distance"][there] <= CLICK_RULES.max_distance_m).all()
        assert (carried["agreement"][there] >= np.float16(CLICK_RULES.min_agreement)).all()
        assert np.mean(labels_at(tmp_path / "a", number) != 0) > 0.5


def test_a_scan_out_of_reach_gives_no_label(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=6, labelled=(0,), clicks=60)
    task = make_task(Request(home, tmp_path / "out", rules={"max_scans": 2}))
    assert sorted(propagate(task)) == [0, 1, 2]


def test_clicks_reach_farther_along_surfaces_and_are_as_often_right(kitti_root: Path, tmp_path: Path) -> None:
    """Sequence 00, where the scales were chosen, and 06, where they were not."""
    for sequence in ("00", "06"):
        found = {
            way: measure(kitti_root, "clicks", "dataset", 0, tmp_path / sequence / way, (sequence,), spread=way)
            for way in ("nearest", "surface")
        }
        near, along = found["nearest"], found["surface"]
        assert along["coverage"] > near["coverage"] + 0.1
        assert along["accuracy"] > near["accuracy"] - 0.05
        assert along["mean_iou_of_covered"] > near["mean_iou_of_covered"]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"spread": "straight"}, "spread is straight; give nearest or surface"),
     ({"neighbours": 3}, "neighbours is 3, but along the surface .* --spread nearest"),
     ({"min_neighbours": 2}, "neighbours is 2, but along the surface .* --spread nearest"),
     ({"voxel_m": 0.6}, r"voxel_m is 0\.6; give 0\.05 to 0\.5"),
     ({"voxel_m": 0.15, "spread": "nearest"}, "voxel_m is for labels .* Give --spread surface"),
     ({"min_agreement": 1.0}, r"min_agreement is 1\.0; give 0\.5 to 0\.95")],
)  # fmt: skip
def test_rules_that_do_not_fit_a_surface(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules_for(False, **change)


def test_the_usual_rules_of_each_way() -> None:
    assert rules_for(False) == CLICK_RULES
    assert rules_for(False, spread="nearest") == NEAREST_CLICK_RULES
    assert rules_for(True, spread="surface") == replace(CLICK_RULES, max_scans=Rules().max_scans)
    assert rules_for(True, spread="nearest") == rules_for(True) == Rules()
