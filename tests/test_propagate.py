"""Labels carried along a drive: the kernels beside plain oracles, the rules as laws, and the command on real scans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_trajectory import curve, turned

from rangeseg.cli import main
from rangeseg.data.evidence import CARRIED, NONE, OWN, read_evidence
from rangeseg.drive.carry import CLICK_RULES, WHOLE_RULES, Rules, Vote, carry, rules_for
from rangeseg.drive.kitti_poses import write_kitti_poses
from rangeseg.drive.labelled_points import (
    NO_CLASS,
    LabelledPoints,
    PointMap,
    classes_of,
    has_label,
    labelled_points_of,
    make_point_map,
)
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.propagate import BLOCK, propagate
from rangeseg.drive.request import Request, make_task
from rangeseg.drive.trajectory import Trajectory
from rangeseg.kernels.neighbours import nearest, vote
from rangeseg.kernels.visibility import depth_image, merge_clicks
from rangeseg.scan_io import read_labels, write_labels
from rangeseg.types import IGNORE, Scan

CAR, ROAD, BUILDING, MOVING_CAR = 10, 40, 50, 252


def chart_of(xyz: np.ndarray, source: np.ndarray, edge: float) -> PointMap:
    """A point_map of random points in one frame; what scans saw is left empty."""
    parts = {}
    for scan in range(int(source.max()) + 1):
        mine = xyz[source == scan]
        parts[scan] = LabelledPoints(
            mine, np.zeros(len(mine), np.uint8), np.zeros((64, 1024), np.float32), (-1, 2, 64), 1.0
        )
    return make_point_map(parts, np.tile(np.eye(4), (len(parts), 1, 1)), np.eye(4), edge)


def oracle(points: np.ndarray, point_map: PointMap, limit: np.ndarray, k: int, allowed: np.ndarray) -> np.ndarray:
    """(N, K) distances, inf where there is no neighbour: every pair, in float64."""
    xyz, source = point_map.search[0].astype(float), point_map.source
    square = np.linalg.norm(points[:, None].astype(float) - xyz[None], axis=2)
    square[:, ~allowed[source]] = np.inf
    found = np.sort(np.pad(square, ((0, 0), (0, k)), constant_values=np.inf), axis=1)[:, :k]
    return np.where(found < limit[:, None], found, np.inf)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("edge", [0.2, 0.5, 3.0])
def test_the_nearest_are_those_of_all_pairs(rng: np.random.Generator, k: int, edge: float) -> None:
    xyz = rng.normal(0, 1.5, (800, 3)).astype(np.float32)
    points = rng.normal(0, 2, (300, 3)).astype(np.float32)
    points[0] = np.nan
    points[1] = 1e7  # beyond all voxels' numbers
    point_map = chart_of(xyz, rng.integers(0, 4, 800), edge)
    allowed, limit = np.array([True, False, True, True]), rng.uniform(0.1, 1.5, 300).astype(np.float32)
    distance, index = np.empty((300, k), np.float32), np.empty((300, k), np.int32)
    nearest(points, limit, point_map.search, allowed, (distance, index))
    expected = oracle(points, point_map, limit, k, allowed)
    np.testing.assert_array_equal(index >= 0, np.isfinite(expected))
    np.testing.assert_allclose(distance[index >= 0], expected[index >= 0], atol=1e-5)
    between = np.linalg.norm(points[:, None] - point_map.search[0][index], axis=2)
    np.testing.assert_allclose(between[index >= 0], distance[index >= 0], atol=1e-5)
    assert allowed[point_map.source[index[index >= 0]]].all()
    assert np.count_nonzero(index >= 0) > 100


def test_the_nearest_of_a_real_scan_are_a_kd_trees(kitti_root: Path) -> None:
    scipy = pytest.importorskip("scipy.spatial", reason="scipy is not installed")
    drive = open_drive(kitti_root / "sequences" / "00")
    poses = drive.own_poses().poses
    first, last = (drive.read(drive.scans[i].file) for i in (0, 4))
    parts = {0: labelled_points_of(first, drive.labels_of(drive.scans[0]), drive.label_map, merge=(0, 0))}  # type: ignore[arg-type]
    point_map = make_point_map(parts, poses, poses[2], 0.5)
    points = point_map.moved(last.xyz, poses[4])
    distance, index = np.empty((len(points), 3), np.float32), np.empty((len(points), 3), np.int32)
    nearest(points, np.full(len(points), 0.5, np.float32), point_map.search, np.ones(1, bool), (distance, index))
    expected = scipy.cKDTree(point_map.search[0]).query(points, 3, distance_upper_bound=0.5)[0]
    assert np.mean((index >= 0) == np.isfinite(expected)) > 0.99999  # the limit itself, in float32
    both = (index >= 0) & np.isfinite(expected)
    np.testing.assert_allclose(distance[both], expected[both], atol=1e-4)


@pytest.mark.parametrize(("agree", "count", "share"), [(7, 10, 0.7), (9, 10, 0.9), (11, 20, 0.55), (2, 3, 2 / 3)])
def test_a_share_of_exactly_the_minimum_is_enough(agree: int, count: int, share: float) -> None:
    votes, through = Vote.of(2), np.zeros((2, count), np.bool_)
    index = np.tile(np.arange(count, dtype=np.int32), (2, 1))
    index[1, 0] = count  # one voter fewer for class 1
    classes = np.array([1] * agree + [2] * (count - agree) + [3], np.uint8)
    nobody = np.zeros(count + 1, np.int32)
    vote(index, np.ones((2, count), np.float32), (classes, nobody), through, (1, share, NO_CLASS), votes.columns())
    assert votes.label.tolist() == [1, IGNORE]


def test_votes_are_counted_as_one_counts_them(rng: np.random.Generator) -> None:
    classes, source = rng.integers(0, 3, 50).astype(np.uint8), rng.integers(0, 4, 50).astype(np.int32)
    classes[classes == 2] = NO_CLASS
    index = rng.integers(-1, 50, (500, 4)).astype(np.int32)
    distance, through = rng.uniform(0, 1, (500, 4)).astype(np.float32), rng.random((500, 4)) < 0.2
    out = (np.empty(500, np.uint8), np.empty(500, np.float32), np.empty(500, np.uint8), np.empty(500, np.float32),
           np.empty(500, np.int32))  # fmt: skip
    vote(index, distance, (classes, source), through, (2, 0.6, NO_CLASS), out)
    for n in range(500):
        seen = [k for k in range(4) if index[n, k] >= 0 and not through[n, k]]
        given = [int(classes[index[n, k]]) for k in seen]
        best = max((given.count(one) for one in given), default=0)
        winner = next((one for one in given if given.count(one) == best), IGNORE)
        right = winner if len(given) >= 2 and best / len(given) >= 0.6 and winner != NO_CLASS else IGNORE
        assert out[0][n] == right
        assert out[2][n] == len(given)
        if right != IGNORE:
            first = next(k for k in seen if classes[index[n, k]] == right)
            assert out[1][n] == distance[n, first]
            assert out[4][n] == source[index[n, first]]
            assert out[3][n] == pytest.approx(best / len(given))


def wall(distance: float, *, gap: tuple[float, float] = (0, 0), rows: int = 32, columns: int = 1800) -> np.ndarray:
    """A round wall about the sensor, open between two azimuths in degrees."""
    azimuth = np.deg2rad(np.linspace(-180, 180, columns, endpoint=False))
    azimuth = azimuth[(azimuth < np.deg2rad(gap[0])) | (azimuth > np.deg2rad(gap[1])) | (gap[0] == gap[1])]
    height = np.linspace(-2, 2, rows)
    a, z = (grid.ravel() for grid in np.meshgrid(azimuth, height))
    return np.stack([distance * np.cos(a), distance * np.sin(a), z], axis=1).astype(np.float32)


def test_the_depth_is_the_least_around(rng: np.random.Generator) -> None:
    xyz = np.concatenate([wall(20), wall(8, gap=(10, 180))])
    depth, down, span = depth_image(xyz, (32, 360))
    rise = np.arcsin(xyz[:, 2] / np.linalg.norm(xyz, axis=1))
    assert down == pytest.approx(rise.min(), abs=1e-6)
    assert down + span == pytest.approx(rise.max(), abs=1e-5)
    middle = depth[16]
    ahead, back = middle[160:171], middle[186:195]  # of 10 degrees left of straight ahead, and right of it
    assert (np.abs(ahead - 20) < 0.5).all() | (np.abs(back - 8) < 0.5).all()
    assert set(np.round(middle[middle > 0])) <= {8, 20}


def test_what_was_seen_through_gets_no_label_from_there() -> None:
    """A labelled scan saw a wall at 20 m. What stands at 10 m in a later scan was not there; what is behind may be."""
    seen = wall(20)
    parts = [wall(10)[::7] * (1, 1, 0.5), wall(20)[::7], wall(20.2)[::7]]
    ring = np.concatenate(parts).astype(np.float32)
    labelled = Scan(seen, np.zeros(len(seen), np.float32))
    raw = np.full(len(seen), BUILDING, np.uint32)
    classes = open_classes()
    said = labelled_points_of(labelled, raw, classes, merge=(0, 0))  # type: ignore[arg-type]
    near = (ring * np.float32(1.01)).astype(np.float32)  # as if somebody had labelled points beside all of these
    one = replace(said, xyz=near, label=np.full(len(near), 12, np.uint8))
    poses = np.tile(np.eye(4), (2, 1, 1))
    point_map = make_point_map({0: one}, poses, np.eye(4), 0.5)
    later = Scan(ring, np.zeros(len(ring), np.float32))
    ends = np.cumsum([0, *map(len, parts)])
    for visibility, expected in ((True, (False, True, True)), (False, (True, True, True))):
        rules = Rules(visibility=visibility)
        found = carry(later, 1, poses[1], point_map, np.ones(1, bool), rules)
        shares = [np.mean(found.label[ends[k] : ends[k + 1]] != IGNORE) for k in range(3)]
        assert [share > 0.9 for share in shares] == list(expected)
        assert [share < 0.1 for share in shares] == [not one for one in expected]


def open_classes() -> object:
    from rangeseg.data.semantic_kitti import SemanticKitti

    return SemanticKitti.read_label_map()


def test_what_moves_and_what_has_no_class_speaks_for_nothing() -> None:
    raw = np.array([0, 1, CAR, MOVING_CAR, ROAD, 52, CAR + (7 << 16)], np.uint32)
    found = classes_of(raw, open_classes())  # type: ignore[arg-type]
    assert found.tolist() == [IGNORE, NO_CLASS, 0, NO_CLASS, 8, NO_CLASS, 0]
    assert classes_of(raw, open_classes(), exclude=[8]).tolist()[4] == NO_CLASS  # type: ignore[arg-type]


def test_clicks_at_one_place_count_once(rng: np.random.Generator) -> None:
    """Brute force: the nearest first, each keeps those of its class out of its angle."""
    xyz = rng.normal(0, 10, (600, 3)).astype(np.float32)
    xyz[300:] = xyz[:300] * rng.uniform(1, 1.2, (300, 1)).astype(np.float32)  # behind the others
    label = rng.integers(0, 2, 600).astype(np.uint8)
    order = np.argsort((xyz.astype(float) ** 2).sum(1), kind="stable")
    for degrees in (0.5, 5.0, 40.0):
        metres = degrees / 10
        kept = merge_clicks(xyz, label, order, np.deg2rad(degrees), metres)
        unit = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
        expected: list[int] = []
        for m in order:
            same = [k for k in expected if label[k] == label[m]]
            turn = any(unit[k] @ unit[m] > np.cos(np.deg2rad(degrees)) for k in same)
            near = any(np.linalg.norm(xyz[k].astype(float) - xyz[m]) < metres for k in same)
            expected += [] if turn or near else [int(m)]
        assert sorted(np.flatnonzero(kept)) == sorted(expected)


def write_street(root: Path, *, scans: int, labelled: tuple[int, ...], clicks: int | None = None) -> Path:
    """A drive past two walls, a metre a scan, in KITTI's layout; the left wall is a building, the right one a car."""
    rng = np.random.default_rng(3)
    poses = np.array([turned(0, x=float(number)) for number in range(scans)])
    home = root / "sequences" / "05"
    for number in range(scans):
        x = rng.uniform(-15, 15, 1500) + number
        side = np.where(rng.random(1500) < 0.5, 4.0, -4.0)
        world = np.stack([x, side, rng.uniform(-1, 1, 1500)], axis=1)
        xyz = world - poses[number][:3, 3]
        points = np.concatenate([xyz, np.zeros((1500, 1))], axis=1).astype(np.float32)
        for folder in ("velodyne", "labels"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        points.tofile(home / "velodyne" / f"{number:06d}.bin")
        raw = np.where(side > 0, BUILDING, CAR).astype(np.uint32)
        if number in labelled:
            if clicks is not None:
                raw[rng.permutation(1500)[clicks:]] = 0
            write_labels(home / "labels" / f"{number:06d}.label", raw)
    write_kitti_poses(home, Trajectory(tuple(f"{n:06d}" for n in range(scans)), poses))
    return home


def truth_of(home: Path, number: int) -> np.ndarray:
    points = np.fromfile(home / "velodyne" / f"{number:06d}.bin", np.float32).reshape(-1, 4)
    return np.where(points[:, 1] > 0, BUILDING, CAR)


def labels_at(folder: Path, number: int) -> np.ndarray:
    return read_labels(folder / "sequences" / "05" / "labels" / f"{number:06d}.label")[0].astype(np.uint32)


def test_a_street_gets_its_labels(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=BLOCK + 9, labelled=(0, 20))
    task = make_task(Request(home, tmp_path / "out", rules={"max_scans": 4}))
    assert task.rules == rules_for(True, max_scans=4)
    reached = list(propagate(task, workers=2))
    assert sorted(reached) == [0, 1, 2, 3, 4, *range(16, 25)]
    for number in reached:
        label, truth = labels_at(tmp_path / "out", number), truth_of(home, number)
        rests = read_evidence(tmp_path / "out" / "sequences" / "05" / "evidence" / f"{number:06d}.npz")
        assert (label[label != 0] == truth[label != 0]).all()
        assert np.mean(label != 0) > 0.6
        np.testing.assert_array_equal(label != 0, rests["kind"] != NONE)
        assert set(np.unique(rests["kind"])) == ({OWN} if number in (0, 20) else {NONE, CARRIED})
        carried = rests["kind"] == CARRIED
        assert (rests["distance"][carried] < 0.5).all()
        assert set(rests["scans"][carried]) <= {-number, 20 - number}
        assert (rests["agreement"][carried] >= 0.6).all()


def test_threads_and_blocks_do_not_change_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write_street(tmp_path / "k", scans=9, labelled=(0, 3, 8))
    for out, workers, block in (("a", 0, 16), ("b", 3, 16), ("c", 2, 2)):
        monkeypatch.setattr("rangeseg.drive.propagate.BLOCK", block)
        list(propagate(make_task(Request(home, tmp_path / out, rules={"max_sensor_distance_m": 5})), workers=workers))
    for number in range(9):
        first = labels_at(tmp_path / "a", number)
        np.testing.assert_array_equal(first, labels_at(tmp_path / "b", number))
        assert np.mean(first == labels_at(tmp_path / "c", number)) > 0.999  # another origin rounds otherwise


def test_memory_holds_only_what_is_in_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write_street(tmp_path / "k", scans=40, labelled=tuple(range(0, 40, 2)))
    sizes, made = [], make_point_map

    def watched(parts: dict, *arguments: object) -> PointMap:
        sizes.append(len(parts))
        return made(parts, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("rangeseg.drive.propagate.make_point_map", watched)
    monkeypatch.setattr("rangeseg.drive.propagate.BLOCK", 4)
    list(propagate(make_task(Request(home, tmp_path / "out", rules={"max_scans": 3}))))
    assert len(sizes) == 10
    assert max(sizes) <= (4 + 2 * 3) / 2 + 1


def test_own_labels_win_and_keep_their_instances(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=3, labelled=(0, 1, 2), clicks=300)
    path = home / "labels" / "000001.label"
    raw = read_labels(path)[0].astype(np.uint32)
    wrong = np.flatnonzero(raw)[:100]
    raw[wrong] = ROAD + (5 << 16)
    raw[wrong[:10]] = MOVING_CAR
    write_labels(path, raw)
    task = make_task(Request(home, tmp_path / "out"))
    assert task.rules == CLICK_RULES
    list(propagate(task))
    written = tmp_path / "out" / "sequences" / "05" / "labels" / "000001.label"
    semantic, instance = read_labels(written)
    known = raw != 0
    np.testing.assert_array_equal((semantic + (instance.astype(np.uint32) << 16))[known], raw[known])
    assert np.mean(semantic != 0) > 0.6
    assert not np.isin(semantic[~known], [MOVING_CAR]).any()


def test_a_raw_id_of_0_is_no_label_beside_another_id_for_none(tmp_path: Path) -> None:
    """A YAML may write points without a label as 255 and still have 0 for them: they get labels all the same."""
    home = write_street(tmp_path / "k", scans=2, labelled=(0, 1), clicks=300)
    names = {0: "unlabelled", 255: "void", CAR: "car", BUILDING: "building"}
    classes = {"dataset": "mine", "ignore": 255, "splits": {"train": []}}
    classes["classes"] = [{"name": names[raw], "raw": raw, "color": [raw, 0, 0]} for raw in (CAR, BUILDING)]
    classes["raw"] = {raw: {"name": name, "class": name if 0 < raw < 255 else "ignore"} for raw, name in names.items()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(classes))
    task = make_task(Request(home, tmp_path / "out", dataset=str(tmp_path / "mine.yaml")))
    for number in propagate(task):
        label, kind = labels_at(tmp_path / "out", number), read_evidence(task.evidence_file(number))["kind"]
        np.testing.assert_array_equal(np.isin(label, (CAR, BUILDING)), kind != NONE)
        assert np.count_nonzero(kind == CARRIED) > 500
        assert has_label(label, task.drive.label_map).tolist() == (kind != NONE).tolist()


def test_a_stopped_run_goes_on_and_other_rules_are_refused(tmp_path: Path) -> None:
    home = write_street(tmp_path / "k", scans=4, labelled=(0,))
    request = Request(home, tmp_path / "out")
    list(propagate(make_task(request)))
    folder = tmp_path / "out" / "sequences" / "05" / "labels"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "000002.label").unlink()
    assert sorted(propagate(make_task(request))) == [0, 1, 2, 3]
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"000002.label"}
    other = Request(home, tmp_path / "out", rules={"max_distance_m": 0.2})
    with pytest.raises(ValueError, match=r"carried with other rules\. Give --overwrite or another --out"):
        list(propagate(make_task(other)))
    list(propagate(make_task(other), overwrite=True))
    with pytest.raises(ValueError, match=r"contains the input labels\. Choose another output folder"):
        list(propagate(make_task(Request(home, tmp_path / "k"))))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"neighbours": 0}, "neighbours is 0"), ({"min_agreement": 0.4}, "min_agreement is 0.4"),
     ({"max_distance_m": -1}, "max_distance_m is -1"),
     ({"max_scans": 40000}, "max_scans is 40000; give 1 to 32767"),  # evidence holds the number as int16
     ({"neighbours": 2, "min_neighbours": 3}, "min_neighbours is 3; give 1 to 2")],
)  # fmt: skip
def test_rules_outside_their_range(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules_for(True, **change)


def test_the_limit_grows_with_range() -> None:
    np.testing.assert_allclose(
        Rules(max_distance_m=0.3, max_distance_per_m=0.01).limits(np.array([0.0, 50.0])), [0.3, 0.8], rtol=1e-6
    )
    assert WHOLE_RULES.limits(np.array([50.0])) == np.float32(0.5)


def test_labels_that_were_corrected_are_carried_again(tmp_path: Path) -> None:
    """What is there rests on the labels as they were: going on would leave it so in silence."""
    home = write_street(tmp_path / "k", scans=3, labelled=(0,))
    request = Request(home, tmp_path / "out")
    list(propagate(make_task(request)))
    write_labels(home / "labels" / "000000.label", np.where(truth_of(home, 0) == CAR, ROAD, BUILDING).astype(np.uint32))
    with pytest.raises(ValueError, match=r"carried with other contents of these scans' labels\. Give"):
        list(propagate(make_task(request)))
    list(propagate(make_task(request), overwrite=True))
    assert set(labels_at(tmp_path / "out", 1)) <= {0, ROAD, BUILDING}
    (tmp_path / "out" / "sequences" / "05" / "propagate.json").write_text("{")
    with pytest.raises(ValueError, match=r"propagate\.json: cannot be read"):
        list(propagate(make_task(request)))


class TestCommand:
    def test_one_labelled_scan_of_five_on_real_scans(self, kitti_root: Path, tmp_path: Path) -> None:
        """Most points of the other four, nearly all right, and hardly any of what moves."""
        drive, out = kitti_root / "sequences" / "00", tmp_path / "out"
        words = ["--labelled", "000000", "--out", str(out), "--json", str(tmp_path / "r.json")]
        assert main(["propagate", str(drive), *words, "--png", str(tmp_path / "s.png")]) == 0
        report = json.loads((tmp_path / "r.json").read_text())["report"]
        assert report["coverage"] > 0.9
        assert report["accuracy"] > 0.975
        assert set(report["by_scans"]) == {"1", "2", "3", "4"}
        assert (tmp_path / "s.png").stat().st_size > 10000
        truth = open_drive(drive)
        got = labels_at_kitti(out, "00", "000004")
        raw = truth.labels_of(truth.scans[2])
        assert raw is not None
        scored = (truth.label_map.to_train(raw & 0xFFFF) != IGNORE) & (got != 0)
        same = truth.label_map.to_train(raw & 0xFFFF) == truth.label_map.to_train(got)
        assert np.mean(same[scored]) > 0.975

    def test_what_is_wrong_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        home = write_street(tmp_path / "k", scans=3, labelled=(0,))

        def error(*words: str) -> str:
            assert main(["propagate", str(home), *words, "--out", str(tmp_path / "o")]) == 1
            return " ".join(capsys.readouterr().err.split())

        assert "has no scan 000009. Names of scans look like 000000" in error("--labelled", "000009")
        assert "--labelled names scan 000001" in error("--labelled", "000000", "000001")
        assert "--exclude tree: no such class. The classes are car," in error("--exclude", "tree")
        assert "missing. None of the 3 scans has labels" in error("--labels", str(tmp_path / "none"))
        assert "has no poses.txt" in error("--poses", str(tmp_path))
        assert "has no scan 7 to draw; give a name like 000000" in error(
            "--png", str(tmp_path / "p.png"), "--scan", "7"
        )
        assert "Give --png PICTURE, too" in error("--scan", "000001")
        far = ["--png", str(tmp_path / "p.png"), "--scan", "000002", "--max-scans", "1"]
        assert "000002: no labelled scan reaches it, so --scan cannot draw it" in error(*far)
        assert not (tmp_path / "o").exists()
        (home / "labels" / "000000.label").write_bytes(np.full(7, CAR, "<u4").tobytes())
        assert "7 labels for 1500 points" in error()


def labels_at_kitti(out: Path, sequence: str, name: str) -> np.ndarray:
    return read_labels(out / "sequences" / sequence / "labels" / f"{name}.label")[0]


def test_the_labels_do_not_depend_on_where_the_world_begins(tmp_path: Path) -> None:
    """Poses in UTM coordinates carry as those that begin at the first scan."""
    home = write_street(tmp_path / "k", scans=4, labelled=(0,))
    list(propagate(make_task(Request(home, tmp_path / "a"))))
    drive = open_drive(home)
    far = turned(33, x=456_000, y=5_428_000, z=110) @ drive.own_poses().poses
    write_kitti_poses(tmp_path / "poses", Trajectory(drive.names, far))
    list(propagate(make_task(Request(home, tmp_path / "b", poses=tmp_path / "poses"))))
    for number in range(4):
        assert np.mean(labels_at(tmp_path / "a", number) == labels_at(tmp_path / "b", number)) > 0.999


def test_curves_do_not_matter(rng: np.random.Generator) -> None:
    """Points of one world, seen from a curve, find themselves."""
    world = rng.normal(0, 10, (500, 3))
    poses = curve(3, 5.0)
    seen = [((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32) for pose in poses]
    label = rng.integers(0, 19, 500).astype(np.uint8)
    one = LabelledPoints(seen[0], label, np.zeros((64, 1024), np.float32), (-1.0, 2.0, 64), 1.0)
    point_map = make_point_map({0: one}, poses, poses[1], 0.25)
    found = carry(
        Scan(seen[2], np.zeros(500, np.float32)), 2, poses[2], point_map, np.ones(1, bool), Rules(neighbours=1)
    )
    np.testing.assert_array_equal(found.label, label)
    assert found.distance.max() < 1e-3
    assert (found.scans == -2).all()
