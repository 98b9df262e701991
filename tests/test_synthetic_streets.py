"""Streets, the dataset of them, their files, and how they are compared with real scans."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from rangeseg.apps.realism import RANGES_M, compare, count, table
from rangeseg.catalog import DATASETS, PROJECTIONS
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.synthesise import synthesise
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.drive.layouts import open_drive
from rangeseg.engine.experiment import Experiment
from rangeseg.projection.unfolding import ScanUnfolding
from rangeseg.scan_io import read_labels
from rangeseg.sensors import read_sensor
from rangeseg.synthetic.ground import SIDEWALK, TERRAIN, lay_ground, winding_path
from rangeseg.synthetic.kinds import KINDS
from rangeseg.synthetic.street import Street, build_street
from rangeseg.types import IGNORE, Scan

pytest.importorskip("open3d", reason="streets are cast with Open3D (extra view)")

LABELS = SemanticKitti.read_label_map()


def streets(**options: object) -> SyntheticStreets:
    given = {"sensor": "vlp16", "scans": 3, "scans_per_street": 2, "sequences": ["00"]} | options
    return SyntheticStreets(**given)  # type: ignore[arg-type]


def same(a: Scan, b: Scan) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("xyz", "remission", "ring", "label"))


@pytest.fixture(scope="module")
def source() -> SyntheticStreets:
    return streets()


@pytest.fixture(scope="module", params=list(KINDS))
def street(request: pytest.FixtureRequest) -> Street:
    return build_street(4, kind=request.param, drive=10.0)


def test_a_scan_is_the_same_alone_and_in_a_sequence(source: SyntheticStreets) -> None:
    sequence = [source.scan(index) for index in range(3)]
    for index in (2, 0, 1):
        assert same(streets().scan(index), sequence[index])
    assert same(streets(scans=9).scan(2), sequence[2])
    assert not same(sequence[0], sequence[1])


def test_threads_get_the_same_scans(source: SyntheticStreets) -> None:
    shared = streets(streets_kept=1)
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(shared.scan, [2, 0, 1, 2, 0, 1]))
    assert all(same(scan, source.scan(index)) for scan, index in zip(given, [2, 0, 1, 2, 0, 1], strict=True))


def test_without_open3d_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match=r"rangeseg\[view\]"):
        streets().scan(0)


def test_another_seed_or_sequence_is_another_street(source: SyntheticStreets) -> None:
    first = source.scan(0)
    assert not same(streets(seed=1).scan(0), first)
    assert not same(streets(sequences=["01"]).scan(0), first)
    assert same(streets(streets_kept=1).scan(0), first)


def test_a_seed_builds_one_street_and_another_seed_another() -> None:
    first, again, other = (build_street(seed, drive=0.0) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    np.testing.assert_array_equal(first.mesh.label, again.mesh.label)
    assert len(first.mesh.vertices) != len(other.mesh.vertices)


def test_streets_hold_known_raw_ids_and_sound_triangles(street: Street) -> None:
    mesh = street.mesh
    assert set(LABELS.raw_names) >= set((mesh.label & 0xFFFF).tolist())
    assert mesh.triangles.min() >= 0
    assert mesh.triangles.max() < len(mesh.vertices)
    assert np.isfinite(mesh.vertices).all()
    assert mesh.albedo.min() > 0
    assert mesh.albedo.max() <= 1.05
    assert len(mesh) < 400_000


def test_things_have_instances_and_the_rest_has_none(street: Street) -> None:
    raw, instance = street.mesh.label & 0xFFFF, street.mesh.label >> 16
    assert not instance[np.isin(raw, (40, 44, 48, 49, 50, 51, 60, 70, 71, 72, 80, 81))].any()
    assert instance[np.isin(raw, (10, 18))].all()


def test_every_class_comes_in_some_street() -> None:
    found: set[int] = set()
    for seed in range(12):
        street = build_street(seed)
        found |= set(LABELS.to_train(street.mesh.label).tolist())
        for mover in street.movers:
            found |= set(LABELS.to_train(mover.mesh.label).tolist())
    assert found >= set(range(LABELS.num_classes))


def test_the_vehicle_stands_on_the_road_and_looks_along_it(street: Street) -> None:
    poses = street.poses(5.0, 90, np.random.default_rng(0), speed=10.0)
    ahead = poses.turn[:, :, 0]
    np.testing.assert_allclose(poses.turn @ poses.turn.transpose(0, 2, 1), np.tile(np.eye(3), (90, 1, 1)), atol=1e-5)
    driven = poses.origin[44] - poses.origin[45]  # it turns from behind to behind
    assert np.linalg.norm(driven) == pytest.approx(10 * 0.1 * 89 / 90, rel=0.05)
    assert driven @ ahead[0] > 0.99 * np.linalg.norm(driven)
    still = street.poses(5.0, 90, np.random.default_rng(0), speed=0.0)
    np.testing.assert_array_equal(still.origin, np.tile(still.origin[:1], (90, 1)))


def test_what_moves_moves() -> None:
    street = next(s for s in (build_street(seed, kind="avenue") for seed in range(5)) if len(s.movers) > 4)
    mover = street.movers[0]
    here = (mover.start + 20, 50.0)
    a, b = (mover.at(street.path, seconds, street.layout.length, here) for seconds in (0.0, 0.5))
    assert a is not None
    assert b is not None
    moved = np.linalg.norm((b.vertices - a.vertices).mean(0))
    assert moved == pytest.approx(0.5 * abs(mover.speed), rel=0.1)
    assert mover.at(street.path, 0.0, street.layout.length, (mover.start, mover.across)) is None


def test_the_ground_has_no_cracks() -> None:
    rng = np.random.default_rng(0)
    path = winding_path(rng, 20.0, 1 / 100, 0.02, 5.0, 0.1)
    classes = np.full((10, 5), SIDEWALK)
    classes[3:6, 2:4] = TERRAIN
    mesh = lay_ground(path, np.linspace(0, 20, 11), np.linspace(-5, 5, 6), classes, rng)
    corners = np.round(mesh.vertices, 3)[mesh.triangles]
    edges: dict[bytes, int] = {}
    for triangle in corners:
        for a, b in ((0, 1), (1, 2), (2, 0)):
            key = b"".join(sorted((triangle[a].tobytes(), triangle[b].tobytes())))
            edges[key] = edges.get(key, 0) + 1
    lonely = [key for key, many in edges.items() if many == 1 and key[:12] != key[12:]]
    assert len(lonely) == 2 * 10 + 2 * 5  # the rim of the patch, and nothing within


@pytest.mark.parametrize("sensor", ["hdl64e", "hdl32e", "os1_64", "vlp16"])
def test_every_row_of_the_sensors_own_projection_is_filled(sensor: str) -> None:
    scan = streets(sensor=sensor, scans=1, scans_per_street=1, kind="country").scan(0)
    arguments = read_sensor(sensor).arguments()
    image = PROJECTIONS[arguments.pop("name")](**arguments)(scan)
    np.testing.assert_array_less(0, image.valid.sum(axis=1)[image.valid.shape[0] // 2 :])
    if sensor in ("hdl64e", "hdl32e"):
        np.testing.assert_array_equal(image.row, scan.ring)
    assert image.valid.mean() > 0.4


def test_it_is_a_dataset_of_a_config(tiny_config: Config) -> None:
    tiny_config.data.dataset = {"name": "synthetic", "scans": 2, "scans_per_street": 1, "sensor": "vlp16"}
    tiny_config.data.projection |= {"fov_up_deg": 16.0, "fov_down_deg": -17.0}
    opened = Experiment(tiny_config).open("val")
    assert [opened.name(index) for index in range(len(opened))] == ["08/000000", "08/000001"]
    view = Experiment(tiny_config).views(opened, stride=(1, 1)).sample(0).view
    assert view.valid.any()
    assert (view.label != IGNORE).any()
    assert isinstance(opened, DATASETS["synthetic"])  # type: ignore[arg-type]


def test_lists_and_hidden_labels() -> None:
    some = streets(subset=["00/000002", "00/000000"], labels=False)
    assert some.names == ("00/000000", "00/000002")
    assert some.scan(1).label is None
    with pytest.raises(ValueError, match="rangeseg synthesise"):
        some.scan_path(0)
    with pytest.raises(ValueError, match="00/000007"):
        streets(subset=["00/000007"])


def test_the_disk_holds_what_the_dataset_gives(tmp_path: Path) -> None:
    assert main(f"synthesise --out {tmp_path} --sequences 08 00 --scans 1 --sensor vlp16 --seed 5".split()) == 0
    written = SemanticKitti(tmp_path, "train")
    assert written.names == ("00/000000",)
    made = SyntheticStreets(sequences=["00"], scans=1, sensor="vlp16", seed=5)
    read, given = written.scan(0), made.scan(0)
    np.testing.assert_array_equal(read.xyz, given.xyz)
    np.testing.assert_array_equal(read.remission, given.remission)
    np.testing.assert_array_equal(read.label, given.label)
    assert len(SemanticKitti(tmp_path, "val")) == 1
    raw, instance = read_labels(written.label_path(0))
    np.testing.assert_array_equal(raw | instance.astype(np.uint32) << 16, made.returns(0).raw)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
def test_the_poses_put_what_stands_still_in_one_place(tmp_path: Path) -> None:
    """Poles and trunks of two scans 6 m apart meet in the world, and do not in the sensor's frame."""
    words = f"synthesise --out {tmp_path} --sequences 00 --scans 3 --scans-per-street 2 --spacing-m 6 --sensor hdl64e"
    assert main(words.split()) == 0
    drive = open_drive(tmp_path / "sequences" / "00")
    poses, source = drive.own_poses().poses, SemanticKitti(tmp_path, "train")
    assert np.linalg.norm(poses[2, :3, 3] - poses[0, :3, 3]) > 5000  # of another street
    placed, frames = [], []
    for index in range(2):
        scan = source.scan(index)
        assert scan.label is not None
        names = source.label_map.names
        still = scan.xyz[np.isin(scan.label, [names.index("trunk"), names.index("pole")])].astype(float)
        frames.append(still)
        placed.append(still @ poses[index, :3, :3].T + poses[index, :3, 3])
    apart = [np.median(cKDTree(some[0]).query(some[1])[0]) for some in (placed, frames)]
    assert apart[0] < 0.15
    assert apart[1] > 3 * apart[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "trian"}, "trian"),
        ({"sequences": ["08"]}, "not in split train"),
        ({"scans": 0}, "at least 1"),
        ({"scans_per_street": 0}, "at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"kind": "motorway"}, "residential"),
        ({"spacing_m": -4.0}, "0 to 2000"),
        ({"sensor": "hdl65"}, "hdl65"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        streets(**options)


def test_a_single_sequence_is_not_read_digit_by_digit(tmp_path: Path) -> None:
    for one in ("10", 10):
        assert streets(sequences=one).names == streets(sequences=["10"]).names
    written = list(synthesise(tmp_path, "10", scans=1, sensor="vlp16"))
    assert [path.parent.parent.name for path in written] == ["10"]


def test_unknown_sequences_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="33"):
        list(synthesise(tmp_path, ["00", "33"], scans=1))
    assert not list(tmp_path.iterdir())


def test_counts_are_those_of_the_points(rng: np.random.Generator) -> None:
    xyz = np.array([[4, 0, 0], [0, 12, 0], [0, 0.1, -16], [60, 0, 0]], np.float32)
    label = np.array([0, 0, 3, IGNORE])
    scan = Scan(xyz, np.array([0.2, 0.4, 0.6, 0.8], np.float32), label=label)
    counts = count([scan], 5, ScanUnfolding(8, 24))
    np.testing.assert_allclose(counts.shares, [2 / 3, 0, 0, 1 / 3, 0])
    np.testing.assert_allclose(counts.seen, [1, 0, 0, 1, 0])
    np.testing.assert_allclose(counts.by_range.sum(), 1)
    assert counts.by_range[RANGES_M.index(10)] == 0.25
    np.testing.assert_allclose(counts.remission[0, 1], 0.3, atol=1e-6)
    assert np.isnan(counts.remission[1]).all()
    with pytest.raises(ValueError, match="No scans"):
        count([], 5, ScanUnfolding(8, 24))
    with pytest.raises(ValueError, match="without labels"):
        count([Scan(xyz, xyz[:, 0])], 5, ScanUnfolding(8, 24))


@pytest.mark.slow
def test_real_and_synthetic_scans_are_near_each_other(kitti_root: Path, tmp_path: Path) -> None:
    page, drawn = compare(kitti_root, tmp_path, scans=6)
    assert page.read_text().startswith("# Synthetic streets")
    assert "vegetation" in page.read_text()
    assert drawn.stat().st_size > 10_000
    real = SemanticKitti(kitti_root, "train")
    projection = ScanUnfolding(64, 2040)
    made = SyntheticStreets(sequences=["00"], scans=12, scans_per_street=1, streets_kept=1)
    counted = [
        count((one.scan(i) for i in range(0, len(one), step)), 19, projection) for one, step in ((real, 5), (made, 1))
    ]
    assert counted[1].points == pytest.approx(counted[0].points, rel=0.1)
    assert np.abs(counted[0].by_range - counted[1].by_range).sum() < 0.3
    assert np.abs(counted[0].filled - counted[1].filled).mean() < 0.08
    assert np.abs(counted[0].shares - counted[1].shares).sum() < 0.7
    assert table(counted[0], counted[1], LABELS).count("\n| ") > 25
