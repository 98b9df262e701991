"""`rangeseg stats` counts what plain NumPy counts over all pixels at once, and a config takes what it writes."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg.analysis.running_stats import RunningStats, tally
from rangeseg.apps.stats import measured, tallies
from rangeseg.cli import main
from rangeseg.config import Config, read_config, write_config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.engine.class_weights import class_weights
from rangeseg.engine.experiment import Experiment
from rangeseg.photos.camvid import CamVid
from rangeseg.projection.range_image import CHANNELS
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.registry import ConfigError
from rangeseg.types import IGNORE, Sample, View


def total(config: Config, split: str = "train", **how: int) -> RunningStats:
    return reduce(add, tallies(measured(config, split), **how))


def test_of_scans_it_is_what_numpy_counts_over_all_pixels_at_once(tiny_config: Config, tiny_kitti: Path) -> None:
    source = SemanticKitti(tiny_kitti, "train")
    projection = SphericalProjection(height=16, width=64, fov_up_deg=6.0, fov_down_deg=-28.0)
    values, of_pixels, of_elements = [], [], []
    for index in range(len(source)):
        image = projection(source.scan(index))
        scan, shown = image.scan, image.point_index[image.point_index >= 0]
        assert scan.label is not None
        fields = np.column_stack([image.range, scan.xyz, scan.remission])
        values.append(fields[shown].astype(np.float64))
        of_pixels.append(scan.label[shown])
        of_elements.append(scan.label)
    at_once = np.concatenate(values)
    counted = total(tiny_config)
    assert (counted.views, counted.pixels) == (3, len(at_once))
    np.testing.assert_allclose(counted.mean, at_once.mean(0), rtol=1e-9)
    np.testing.assert_allclose(counted.std, at_once.std(0), rtol=1e-9)
    for of, labels in (("pixels", of_pixels), ("elements", of_elements)):
        joined = np.concatenate(labels)
        shares = [(joined == train_id).mean() for train_id in range(19)]
        np.testing.assert_allclose(counted.frequencies(19, of), shares, rtol=1e-12)


def test_of_photographs_it_is_what_numpy_counts(photo_config: Config) -> None:
    source = CamVid(photo_config.data.root, "train")
    photos = [source.photo(index) for index in range(len(source))]
    at_once = np.concatenate([photo.image.reshape(-1, 3) for photo in photos]).astype(np.float64) / 255
    counted = total(photo_config)
    assert counted.pixels == len(at_once) == 4 * 30 * 44
    np.testing.assert_allclose(counted.mean, at_once.mean(0), rtol=1e-6)  # a view's float32
    np.testing.assert_allclose(counted.std, at_once.std(0), rtol=1e-6, atol=1e-12)  # green is the same everywhere
    labels = np.concatenate([photo.label.reshape(-1) for photo in photos if photo.label is not None])
    assert IGNORE in labels  # those without a class count, too
    shares = [(labels == train_id).mean() for train_id in range(11)]
    np.testing.assert_allclose(counted.frequencies(11), shares, rtol=1e-12)
    np.testing.assert_array_equal(counted.of_pixels, counted.of_elements)


def test_the_number_of_threads_changes_no_bit(tiny_config: Config) -> None:
    one, *others = (total(tiny_config, workers=workers) for workers in (0, 1, 3))
    for other in others:
        for field in ("mean", "squares", "of_pixels", "of_elements"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def sample_of(values: np.ndarray, label: np.ndarray | None = None) -> Sample:
    """One row of pixels, all valid."""
    image = torch.from_numpy(values.astype(np.float32))[:, None]
    shown = np.full(values.shape[1], IGNORE) if label is None else label
    view = View(image, torch.ones(1, values.shape[1], dtype=torch.bool), torch.from_numpy(shown[None]).long())
    return Sample("row", view, raster=None, label=label)  # type: ignore[arg-type]


def test_the_order_of_the_samples_does_not_matter(rng: np.random.Generator) -> None:
    parts = [tally(sample_of(rng.normal(1000, 0.1, (2, size)))) for size in (1, 700, 20, 3, 5000)]
    one, other = reduce(add, parts), reduce(add, parts[::-1])
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-13)
    np.testing.assert_allclose(one.std, other.std, rtol=1e-9)


def test_a_small_deviation_far_from_zero_is_not_lost(rng: np.random.Generator) -> None:
    """Where the mean of squares less the square of the mean has no digit left."""
    values = (1e7 + rng.integers(0, 3, (1, 4000))).astype(np.float32)
    counted = reduce(add, (tally(sample_of(part)) for part in np.split(values, 8, axis=1)))
    np.testing.assert_allclose(counted.std, values.astype(np.float64).std(), rtol=1e-9)


def test_views_without_pixels_or_labels_change_no_share(rng: np.random.Generator) -> None:
    seen = tally(sample_of(rng.normal(size=(2, 30)), rng.integers(0, 3, 30)))
    empty, unlabelled = tally(sample_of(np.empty((2, 0)))), tally(sample_of(rng.normal(size=(2, 9))))
    np.testing.assert_array_equal((empty + seen + empty).mean, seen.mean)
    np.testing.assert_array_equal((seen + unlabelled).frequencies(3), seen.frequencies(3))
    assert (seen + unlabelled).pixels == 39
    assert not (empty + unlabelled).labelled
    np.testing.assert_array_equal((empty + empty).std, [0, 0])
    with pytest.raises(ValueError, match="Choose a labelled split"):
        unlabelled.frequencies(3)
    with pytest.raises(ValueError, match="choose elements or pixels"):
        seen.frequencies(3, "points")


@pytest.mark.parametrize(("unlabelled", "shares"), [(1, [1 / 4, 2 / 4]), (3, [1 / 6, 2 / 6]), (7, [1 / 3, 2 / 3])])
def test_shares_of_sparse_labels_are_those_of_the_labelled_points(unlabelled: int, shares: list[float]) -> None:
    label = np.array([0, 1, 1, *[IGNORE] * unlabelled])
    counted = tally(sample_of(np.zeros((1, len(label))), label))
    np.testing.assert_allclose(counted.frequencies(2), shares)
    assert counted.sparse == (unlabelled > 3)


@pytest.mark.parametrize("kind", ["tiny_config", "photo_config"])
def test_a_config_takes_what_is_written(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """As one of its bases: channels then have mean 0 and deviation 1, and classes weigh by what was counted."""
    config: Config = request.getfixturevalue(kind)
    (tmp_path / "config.yaml").write_text(write_config(config))
    assert main(["stats", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "stats.yaml")]) == 0
    (tmp_path / "new.yaml").write_text("base: [config.yaml, stats.yaml]\nsupervised: {class_weights: inverse}\n")
    new = read_config(tmp_path / "new.yaml")
    views = Experiment(new).views(Experiment(new).open("train"))
    values = np.concatenate(
        [
            view.image.numpy()[:, view.valid.numpy()].astype(np.float64)
            for view in (views.sample(index).view for index in range(len(views)))
        ],
        axis=1,
    )
    np.testing.assert_allclose(values.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(1), [0 if std == 1 else 1 for std in new.data.std], rtol=1e-6)
    assert sum(std == 1 for std in new.data.std) == (kind == "photo_config")  # green is the same everywhere
    label_map = Experiment(new).label_map
    weights = class_weights(new.supervised, label_map)
    shares = total(config).frequencies(label_map.num_classes)
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), 1 / (shares + 1e-3), rtol=1e-6)
    assert not np.allclose(weights.numpy(), label_map.class_weights(), rtol=0.1)  # not those of labels.yaml


def test_classes_are_counted_on_the_labels_that_a_training_reads(tiny_config: Config, tmp_path: Path) -> None:
    """Class weights from other labels would use labels that the experiment says it does not have."""
    whole, source = total(tiny_config), SemanticKitti(tiny_config.data.root, "train")
    (tmp_path / "one.txt").write_text(f"{source.name(1)}\n")
    config = replace(tiny_config, data=replace(tiny_config.data, labelled=str(tmp_path / "one.txt")))
    counted = total(config)
    np.testing.assert_array_equal(counted.mean, whole.mean)
    assert counted.views == whole.views == 3
    label = source.scan(1).label
    assert label is not None
    np.testing.assert_array_equal(counted.of_elements, np.bincount(label, minlength=IGNORE + 1))
    (tmp_path / "config.yaml").write_text(write_config(config))
    assert main(["stats", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "stats.yaml")]) == 0
    assert "; labels of 1 are counted" in (tmp_path / "stats.yaml").read_text()

    clicks = replace(config, data=replace(config.data, label_fraction=0.02))
    assert 0 < total(clicks).of_pixels[:IGNORE].sum() < 0.05 * counted.of_pixels[:IGNORE].sum()
    assert total(clicks).frequencies(19).sum() == pytest.approx(1)  # of the clicked points
    nothing = replace(config, data=replace(config.data, labelled="none"))
    assert not total(nothing).labelled
    np.testing.assert_array_equal(reduce(add, tallies(measured(config, "train", "all"))).of_elements, whole.of_elements)


def test_pixels_weigh_classes_where_asked(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    arguments = ["stats", str(tmp_path / "config.yaml"), "--of", "pixels", "--out", str(tmp_path / "stats.yaml")]
    assert main(arguments) == 0
    (tmp_path / "new.yaml").write_text("base: [config.yaml, stats.yaml]\n")
    shares = read_config(tmp_path / "new.yaml").supervised.frequencies
    counted = total(tiny_config)
    np.testing.assert_allclose(list(shares.values()), counted.frequencies(19, "pixels"), rtol=1e-8)
    assert not np.allclose(list(shares.values()), counted.frequencies(19), rtol=1e-3)


def test_a_channel_that_never_changes_is_left_unscaled_and_named(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path
) -> None:
    for path in (tiny_kitti / "sequences" / "00" / "velodyne").glob("*.bin"):
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        points[:, 3] = 0
        place = tmp_path / "sequences" / "00" / "velodyne" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        points.tofile(place)
        label = tiny_kitti / "sequences" / "00" / "labels" / f"{path.stem}.label"
        (tmp_path / "sequences" / "00" / "labels").mkdir(exist_ok=True)
        (tmp_path / "sequences" / "00" / "labels" / label.name).write_bytes(label.read_bytes())
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    out = tmp_path / "stats.yaml"
    assert main(["stats", str(tmp_path / "config.yaml"), f"data.root={tmp_path}", "--out", str(out)]) == 0
    assert "remission: constant. A std of 1 leaves it unscaled" in out.read_text()
    (tmp_path / "new.yaml").write_text("base: [config.yaml, stats.yaml]\n")
    assert read_config(tmp_path / "new.yaml").data.std[CHANNELS.index("remission")] == 1


def test_without_labels_there_are_means_and_no_frequencies(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    assert main(["stats", str(tmp_path / "config.yaml"), "--split", "test"]) == 0
    said = capsys.readouterr().out
    assert "mean: [" in said
    assert "frequencies" not in said


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_written(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sequences" / "08" / "velodyne"
    folder.mkdir(parents=True)
    (folder / "000000.bin").write_bytes(b"123")
    (tmp_path / "config.yaml").write_text(write_config(tiny_config))
    command = ["stats", str(tmp_path / "config.yaml"), "--split", "val", f"data.root={tmp_path}"]
    (folder.parent / "labels").mkdir()
    (folder.parent / "labels" / "000000.label").write_bytes(b"")
    assert main([*command, "--out", str(tmp_path / "stats.yaml")]) == 1
    assert "000000.bin" in capsys.readouterr().err
    assert not (tmp_path / "stats.yaml").exists()


def test_frequencies_of_other_classes_are_refused(tiny_config: Config) -> None:
    label_map = Experiment(tiny_config).label_map
    shares = dict.fromkeys(label_map.names, 0.05)

    def weights(frequencies: dict[str, float]) -> None:
        supervised = replace(tiny_config.supervised, class_weights="root", frequencies=frequencies)
        class_weights(supervised, label_map)

    weights(shares)
    with pytest.raises(ConfigError, match="cat: missing or not a class of SemanticKITTI"):
        weights(shares | {"cat": 0.1})
    with pytest.raises(ConfigError, match="car: missing or not a class"):
        weights({name: share for name, share in shares.items() if name != "car"})
    with pytest.raises(ConfigError, match=r"car: not shares; .* 0 to 1"):
        weights(shares | {"car": float("nan")})


def test_a_base_of_a_list_has_its_later_entries_above(tmp_path: Path) -> None:
    head = "data: {root: x}\noptim: {steps: 1}\n"
    (tmp_path / "a.yaml").write_text(head + "runtime: {out: a, seed: 1, workers: 1}\n")
    (tmp_path / "b.yaml").write_text("runtime: {seed: 2, workers: 2}\n")
    (tmp_path / "c.yaml").write_text("base: [a.yaml, b.yaml]\nruntime: {workers: 3}\n")
    runtime = read_config(tmp_path / "c.yaml").runtime
    assert (runtime.out, runtime.seed, runtime.workers) == ("a", 2, 3)


@pytest.mark.slow
def test_camvid_frequencies_are_those_shipped(data_root: Path) -> None:
    config = read_config("camvid", [f"data.root={data_root / 'camvid'}", "data.labelled=all"])
    shipped = Experiment(config).label_map.frequencies
    np.testing.assert_allclose(total(config).frequencies(11), shipped, rtol=1e-8)


@pytest.mark.slow
def test_real_scans_agree_with_numpy(data_root: Path, scans_root: Path) -> None:
    """Every point of every file, hidden ones too; and all pixels at once."""
    config = read_config("mini_kitti", [f"data.root={scans_root}"])
    counted, label_map = total(config), Experiment(config).label_map
    files = [path for path in sorted(scans_root.glob("sequences/*/labels/*.label")) if path.parts[-3] != "08"]
    raw = np.concatenate([np.fromfile(path, "<u4") & 0xFFFF for path in files])
    shares = [(label_map.to_train(raw) == train_id).mean() for train_id in range(19)]
    np.testing.assert_allclose(counted.frequencies(19), shares, rtol=1e-12)
    views = measured(config, "train").views
    values = np.concatenate(
        [
            view.image.numpy()[:, view.valid.numpy()]
            for view in (views.sample(index).view for index in range(len(views)))
        ],
        axis=1,
    ).astype(np.float64)
    np.testing.assert_allclose(counted.mean, values.mean(1), rtol=1e-9)
    np.testing.assert_allclose(counted.std, values.std(1), rtol=1e-9)


def test_hidden_points_count_as_elements_and_not_as_pixels(rng: np.random.Generator) -> None:
    scan = random_scan(rng, 500)
    scan = replace(scan, xyz=np.concatenate([scan.xyz, 2 * scan.xyz]), remission=np.tile(scan.remission, 2), label=None)
    scan = replace(scan, label=np.repeat([0, 1], 500))  # class 1 is behind class 0, along the same rays
    image = SphericalProjection(height=16, width=64, fov_up_deg=6.0, fov_down_deg=-28.0)(scan)
    view = image.view(CHANNELS, np.zeros(5), np.ones(5))
    counted = tally(Sample("hidden", view, image, scan.label))
    np.testing.assert_array_equal(counted.frequencies(2), [0.5, 0.5])
    assert counted.frequencies(2, "pixels")[1] < 0.2
