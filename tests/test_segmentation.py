"""The result of a segmenter: an array that also knows its classes, and how sure it is."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_photo_config, random_scan
from numpy.typing import NDArray

from rangeseg import IGNORE, Photo, Segmenter, read_scan
from rangeseg.cli import main
from rangeseg.engine.training import train
from rangeseg.inference.segmentation import Segmentation
from rangeseg.kernels.confidence import sum_up_classes
from rangeseg.scan_formats.labelled import read_labelled
from rangeseg.scan_io import read_labels
from rangeseg.types import Scan


@pytest.fixture
def scan(rng: np.random.Generator) -> Scan:
    scan = random_scan(rng)
    scan.xyz[7] = 0  # no return
    return scan


def probabilities(segmenter: Segmenter, scan: Scan) -> NDArray[np.float64]:
    """(K, N) in float64, of each point's pixel; 0 for no returns."""
    image = segmenter.project(scan)
    logits = segmenter.logits(image).double().numpy()
    exponents = np.exp(logits - logits.max(0))
    return np.where(image.no_return, 0, (exponents / exponents.sum(0))[:, image.row, image.col])  # type: ignore[union-attr]


def test_confidence_and_entropy_are_those_of_the_pixels_probabilities(segmenter: Segmenter, scan: Scan) -> None:
    found, expected = segmenter(scan), probabilities(segmenter, scan)
    known = found.labels != IGNORE
    assert not known[7]
    assert known.sum() == len(scan) - 1
    assert found.confidence is not None
    assert found.entropy is not None
    chosen = expected[found.labels[known], np.flatnonzero(known)]
    np.testing.assert_allclose(found.confidence[known], chosen, atol=1e-6)
    nats = -(expected * np.log(np.maximum(expected, 1e-300))).sum(0)
    np.testing.assert_allclose(found.entropy[known], nats[known], atol=1e-5)
    assert found.confidence[7] == found.entropy[7] == 0
    assert 0 < found.confidence[known].min() < 0.5 < found.confidence.max() <= 1


@pytest.mark.parametrize("order", ["planes", "pixels"])
@pytest.mark.parametrize("inverse", [1.0, 0.3])
def test_softmax_is_that_of_float64(order: str, inverse: float, rng: np.random.Generator) -> None:
    logits = rng.normal(0, 6, (5, 2500)).astype(np.float32)
    logits[:, :4] = [[0] * 4, [500, -500, 0, -np.inf], [0] * 4, [1, 2, 3, 4], [88, 87, -88, 0]]
    held = logits if order == "planes" else np.ascontiguousarray(logits.T).T
    best, (most, total, entropy) = np.empty(2500, np.uint8), np.empty((3, 2500), np.float32)
    sum_up_classes(held, inverse, best, most, total, entropy)
    exact = logits.astype(np.float64)
    weight = np.exp((exact - exact.max(0)) * inverse)
    share = weight / weight.sum(0)
    assert (best == logits.argmax(0)).all()
    assert (most == logits.max(0)).all()
    np.testing.assert_allclose(total, weight.sum(0), rtol=1e-6)
    np.testing.assert_allclose(entropy, -(share * np.log(np.maximum(share, 1e-300))).sum(0), atol=2e-6)


def test_a_stream_with_confidence_gives_what_each_scan_alone_gives(segmenter: Segmenter, scan: Scan) -> None:
    alone = segmenter(scan)
    for workers in (0, 2):
        (streamed,) = segmenter.stream([scan], workers=workers, confidence=True)
        for name in ("labels", "confidence", "entropy"):
            np.testing.assert_array_equal(getattr(streamed, name), getattr(alone, name))


def test_of_a_photograph_every_pixel_has_one(tmp_path: Path, rng: np.random.Generator) -> None:
    config = make_photo_config(tmp_path)
    train(config)
    segmenter = Segmenter.load(tmp_path / "run", device="cpu")
    photo = Photo(rng.integers(0, 256, (30, 44, 3), np.uint8))
    found = segmenter(photo)
    image = segmenter.project(photo)
    planes = image.back_project(segmenter.logits(image).softmax(0).numpy())
    np.testing.assert_allclose(
        found.confidence, np.take_along_axis(planes, found.labels[None].astype(int), 0)[0], atol=1e-6
    )
    found.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.ply: the labels of a photograph end in \.png"):
        found.save(tmp_path / "a.ply")
    assert "1320 pixels" in repr(found)


def test_it_is_used_as_the_array_of_its_labels(segmenter: Segmenter, scan: Scan) -> None:
    found = segmenter(scan)
    labels = np.array(found)
    assert (type(labels), labels.dtype) == (np.ndarray, np.uint8)
    for made, expected in (
        (found == 8, labels == 8),
        (found[found != IGNORE], labels[labels != IGNORE]),
        (np.where(found == 1, 2, found), np.where(labels == 1, 2, labels)),
        (np.bincount(found), np.bincount(labels)),
        (found.reshape(40, -1), labels.reshape(40, -1)),
        (found.astype(np.int64) + 1, labels.astype(np.int64) + 1),
        (found + np.uint8(0), labels),
        (np.add.reduce(found), np.add.reduce(labels)),
        (torch.as_tensor(found).numpy(), labels),
        (segmenter.label_map.to_raw(found), segmenter.label_map.to_raw(labels)),
        (list(found)[:5], list(labels[:5])),
    ):
        np.testing.assert_array_equal(made, expected)
        assert not isinstance(made, Segmentation)
    assert (len(found), found.shape, found.dtype, found.ndim) == (2000, (2000,), np.uint8, 1)
    with pytest.raises(AttributeError, match="no_such_thing"):
        found.no_such_thing  # noqa: B018


def test_it_tells_names_colours_and_shares(segmenter: Segmenter, scan: Scan) -> None:
    found, classes = segmenter(scan), segmenter.label_map
    for place in (0, 7, 100):
        label = int(found[place])
        name, color = ("unlabelled", (0, 0, 0)) if label == IGNORE else (classes.names[label], classes.colors[label])
        assert found.names[place] == name
        assert tuple(found.colors[place]) == tuple(color)
    assert sum(found.shares.values()) == pytest.approx(1)
    first = max(range(classes.num_classes), key=lambda k: (found.labels == k).sum())
    assert next(iter(found.shares)) == classes.names[first]
    assert repr(found).startswith(f"<Segmentation of 2000 points, SemanticKITTI: {classes.names[first]} ")
    assert f"mean confidence {found.confidence[found != IGNORE].mean():.2f}" in repr(found)
    assert segmenter(scan, confidence=False).confidence is None


def columns_of(path: Path) -> dict[str, NDArray]:
    """Read by others: Open3D's tensor reader, laspy, NumPy."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    if path.suffix == ".las":
        laspy = pytest.importorskip("laspy", reason="the extra las is not installed")
        points = laspy.read(path)
        names = ("x", "y", "z", "label", "confidence", "entropy", "classification")
        return {name: np.asarray(points[name]) for name in names}
    open3d = pytest.importorskip("open3d", reason="the extra view is not installed")
    cloud = open3d.t.io.read_point_cloud(str(path))
    xyz = cloud.point.positions.numpy()
    return {axis: xyz[:, k] for k, axis in enumerate("xyz")} | {
        name: cloud.point[name].numpy()[:, 0] for name in ("label", "confidence", "entropy") if name in cloud.point
    }


@pytest.mark.parametrize("ending", ["pcd", "ply", "las", "npz"])
def test_saved_points_and_labels_are_read_by_others(
    ending: str, segmenter: Segmenter, scan: Scan, tmp_path: Path
) -> None:
    found = segmenter(scan)
    path = tmp_path / f"a.{ending}"
    found.save(path)
    again, columns = read_scan(path), columns_of(path)
    step = 1e-4 if ending == "las" else 0
    np.testing.assert_allclose(again.xyz, scan.xyz, atol=step)
    for k, axis in enumerate("xyz"):
        np.testing.assert_allclose(columns[axis], scan.xyz[:, k], atol=step)
    if "label" in columns:  # Open3D leaves out the types of PLY that it lacks
        np.testing.assert_array_equal(columns["label"], segmenter.label_map.to_raw(found))
    np.testing.assert_array_equal(columns["confidence"], found.confidence)
    np.testing.assert_array_equal(columns["entropy"], found.entropy)
    if ending == "las":
        assert columns["classification"][7] == 1
        np.testing.assert_array_equal(np.delete(columns["classification"], 7), np.delete(found.labels, 7) + 64)


def test_saved_points_are_those_of_the_file_for_a_tilted_sensor_too(scan: Scan, tmp_path: Path) -> None:
    beams = np.linspace(3, -25, 64).round(2).tolist()
    beam = f"{{name: beam, width: 512, inclinations_deg: {beams}, origin_m: [1.0, 0.0, 1.8], tilt_deg: [0.0, 10.0]}}"
    found = Segmenter.load("first-answer", device="cpu", overrides=[f"data.projection={beam}"])(scan)
    found.save(tmp_path / "a.npz")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.npz").xyz, scan.xyz)


def test_saved_labels_are_semantic_kittis(segmenter: Segmenter, scan: Scan, tmp_path: Path) -> None:
    found = segmenter(scan)
    found.save(tmp_path / "a.label")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.label")[0], segmenter.label_map.to_raw(found))
    with pytest.raises(ValueError, match=r"a\.txt: the labels of a scan end in \.label, \.pcd"):
        found.save(tmp_path / "a.txt")


def test_predict_writes_labelled_points_and_goes_on(
    tiny_kitti: Path, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tiny_kitti / "sequences/08/velodyne"
    words = [
        "predict",
        "first-answer",
        str(scans / "000000.bin"),
        str(scans / "000001.bin"),
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert main([*words, "--format", "ply"]) == 0
    folder = tmp_path / "sequences/08/predictions"
    assert sorted(path.name for path in folder.iterdir()) == ["000000.ply", "000001.ply"]
    found = segmenter(read_scan(scans / "000001.bin"))
    np.testing.assert_allclose(columns_of(folder / "000001.ply")["confidence"], found.confidence, atol=1e-5)
    (folder / "000000.ply").write_bytes((folder / "000000.ply").read_bytes()[:-4])
    capsys.readouterr()
    assert main([*words, "--format", "ply"]) == 0
    assert "(1 of them now)" in capsys.readouterr().out


def test_predict_writes_confidence_beside_labels(
    tiny_kitti: Path, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_kitti / "sequences/08/velodyne/000000.bin"
    words = ["predict", "first-answer", str(path), "--out", str(tmp_path), "--device", "cpu", "--confidence"]
    assert main(words) == 0
    folder = tmp_path / "sequences/08/predictions"
    found = segmenter(read_scan(path))
    np.testing.assert_array_equal(read_labels(folder / "000000.label")[0], segmenter.label_map.to_raw(found))
    with np.load(folder / "000000_confidence.npz") as arrays:
        np.testing.assert_allclose(arrays["confidence"], found.confidence, atol=1e-5)
        np.testing.assert_allclose(arrays["entropy"], found.entropy, atol=1e-5)
    (folder / "000000_confidence.npz").unlink()
    capsys.readouterr()
    assert main(words) == 0
    assert "(1 of them now)" in capsys.readouterr().out


def test_a_scan_may_be_given_in_many_ways(segmenter: Segmenter, tmp_path: Path, rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    table = np.column_stack([scan.xyz, scan.remission])
    table.tofile(tmp_path / "a.bin")
    fields = np.zeros(len(scan), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "u1"), ("t", "f8")])
    for k, axis in enumerate("xyz"):
        fields[axis] = scan.xyz[:, k]
    fields["intensity"] = 255 * scan.remission
    whole = segmenter(scan)
    for given in (
        tmp_path / "a.bin",
        str(tmp_path / "a.bin"),
        table,
        table.astype(np.float64),
        table.tolist(),
    ):
        np.testing.assert_array_equal(segmenter(given), whole)
    np.testing.assert_array_equal(
        segmenter(fields), segmenter(replace(scan, remission=fields["intensity"] / np.float32(255)))
    )
    bare = segmenter(replace(scan, remission=np.zeros(len(scan), np.float32)))
    np.testing.assert_array_equal(segmenter(scan.xyz), bare)
    np.testing.assert_array_equal(segmenter(Cloud(table)), whole)


def test_a_cloud_is_read_by_the_columns_of_the_run(tmp_path: Path, rng: np.random.Generator) -> None:
    """An array of a file's columns gives the labels of the file, and another column is never taken in silence."""
    dataset = "data.dataset={name: scan_folder, classes: semantic_kitti, fields: {remission: reflectivity, unit: cm}}"
    segmenter = Segmenter.load("first-answer", device="cpu", overrides=[dataset])
    scan = random_scan(rng)
    names = ("x", "y", "z", "reflectivity", "intensity")
    cloud = np.zeros(len(scan), [(name, "f4") for name in names])
    for k, axis in enumerate("xyz"):
        cloud[axis] = 100 * scan.xyz[:, k]
    cloud["reflectivity"], cloud["intensity"] = scan.remission, rng.permutation(scan.remission)
    np.savez(tmp_path / "a.npz", **{name: cloud[name] for name in names})
    np.testing.assert_array_equal(segmenter(cloud), segmenter(tmp_path / "a.npz"))
    other = cloud[["x", "y", "z", "intensity"]]
    with pytest.raises(ValueError, match=r"has no reflectivity for remission; .*data\.dataset\.fields .*--fields"):
        segmenter(other)
    overrides = [dataset, "data.dataset.fields={remission: intensity}"]
    assert len(Segmenter.load("first-answer", device="cpu", overrides=overrides)(other)) == len(scan)


class Cloud:
    """Like PCL's wrappers have it."""

    def __init__(self, table: NDArray) -> None:
        self.table = table

    def to_array(self) -> NDArray:
        return self.table


def test_clouds_of_open3d_are_taken(segmenter: Segmenter, scan: Scan) -> None:
    open3d = pytest.importorskip("open3d", reason="the extra view is not installed")
    legacy = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(scan.xyz.astype(np.float64)))
    np.testing.assert_array_equal(segmenter(legacy), segmenter(scan.xyz))
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(scan.xyz))
    cloud.point["remission"] = open3d.core.Tensor(scan.remission[:, None])
    np.testing.assert_array_equal(segmenter(cloud), segmenter(scan))


def test_what_is_no_scan_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"The array is object of shape \(\)"):
        segmenter({})
    with pytest.raises(ValueError, match=r"float64 of shape \(5, 2\)"):
        segmenter(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="none of its 3 points is a return"):
        segmenter(np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4")]))
    with pytest.raises(ValueError, match=r"nowhere\.bin: cannot be read"):
        segmenter(tmp_path / "nowhere.bin")


@pytest.mark.parametrize("ending", ["pcd", "ply", "las", "npz"])
def test_the_command_that_predict_names_next_shows_labelled_points(
    ending: str, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "las":
        pytest.importorskip("laspy", reason="the extra las is not installed")
    path = tiny_kitti / "sequences/08/velodyne/000000.bin"
    assert (
        main(["predict", "first-answer", str(path), "--out", str(tmp_path), "--device", "cpu", "--format", ending]) == 0
    )
    told = capsys.readouterr().out.replace("\n", " ").rpartition("next: rangeseg ")[2]
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(told), "--dataset", "semantic_kitti"]) == 0
    assert (tmp_path / "picture.png").stat().st_size > 1000
    assert read_labelled(tmp_path / f"sequences/08/predictions/000000.{ending}").dtype.kind in "iu"


def test_points_without_labels_are_no_prediction(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "a.npz", xyz=random_scan(rng, 20).xyz, label=np.zeros(20))
    with pytest.raises(ValueError, match="no integer column named label"):
        read_labelled(tmp_path / "a.npz")
