"""Views of scans: the channels, the labels, and what stays hidden."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg.data.augment import Augmentation
from rangeseg.data.range_views import RangeViews
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.labels import LabelMap
from rangeseg.projection.beam import BeamProjection
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.resources import resource
from rangeseg.types import IGNORE, Scan

PROJECTION = SphericalProjection(16, 128, 3.0, -25.0)
MEAN, STD = (12.0, -0.1, 0.5, -1.0, 0.2), (12.0, 11.0, 9.0, 0.9, 0.15)


@dataclass(frozen=True)
class Scans:
    """A source that holds its scans."""

    scans: list[Scan] = field(default_factory=lambda: [random_scan(np.random.default_rng(seed)) for seed in range(3)])
    label_map: LabelMap = field(
        default_factory=lambda: LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))
    )

    def __len__(self) -> int:
        return len(self.scans)

    def name(self, index: int) -> str:
        return f"00/{index:06d}"

    def scan(self, index: int) -> Scan:
        return self.scans[index]


def views(source: Scans | SemanticKitti | None = None, **options: object) -> RangeViews:
    return RangeViews(source or Scans(), PROJECTION, **({"mean": MEAN, "std": STD} | options))  # type: ignore[arg-type]


def oracle(scan: Scan, shape: tuple[int, int] = (16, 128)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, valid and label of a scan, point by point in float64."""
    height, width = shape
    image, label, nearest = np.zeros((5, height, width)), np.full(shape, IGNORE), np.full(shape, np.inf)
    up, down = np.deg2rad(3), np.deg2rad(-25)
    assert scan.label is not None
    for (x, y, z), remission, train_id in zip(scan.xyz.astype(np.float64), scan.remission, scan.label, strict=True):
        distance = np.sqrt(x * x + y * y + z * z)
        row = np.clip(int(np.floor(height * (1 - (np.arcsin(z / distance) - down) / (up - down)))), 0, height - 1)
        col = np.clip(int(np.floor(width * 0.5 * (1 - np.arctan2(y, x) / np.pi))), 0, width - 1)
        if distance < nearest[row, col]:
            nearest[row, col], label[row, col] = distance, train_id
            image[:, row, col] = (np.array([distance, x, y, z, remission]) - MEAN) / STD
    return image, np.isfinite(nearest), label


def test_a_view_equals_the_oracle(rng: np.random.Generator) -> None:
    view = views().view(1, rng)
    image, valid, label = oracle(Scans().scan(1))
    np.testing.assert_allclose(view.image.numpy(), image, atol=2e-5)
    np.testing.assert_array_equal(view.valid.numpy(), valid)
    np.testing.assert_array_equal(view.label.numpy(), label)
    assert view.image.dtype == torch.float32
    assert view.label.dtype == torch.int64


def test_a_view_is_that_of_the_augmented_scan() -> None:
    augmentation = Augmentation(drop=0.5)
    view = views(augmentation=augmentation).view(0, np.random.default_rng(4))
    image, valid, label = oracle(augmentation(Scans().scan(0), np.random.default_rng(4)))
    np.testing.assert_allclose(view.image.numpy(), image, atol=2e-5)
    np.testing.assert_array_equal(view.valid.numpy(), valid)
    np.testing.assert_array_equal(view.label.numpy(), label)


def test_a_quarter_turn_rolls_the_columns() -> None:
    """A quarter turn, exact in float32, is a roll by W/4: nothing else of range, z and label changes."""
    scan = Scans().scan(0)
    turned = replace(scan, xyz=np.ascontiguousarray(scan.xyz[:, [1, 0, 2]] * np.array([-1, 1, 1], np.float32)))
    before, after = (views(Scans([s]), channels=("range", "z"), mean=(0, 0), std=(1, 1)) for s in (scan, turned))
    a, b = before.sample(0).view, after.sample(0).view
    torch.testing.assert_close(b.image, a.image.roll(-32, dims=-1))
    assert torch.equal(b.label, a.label.roll(-32, dims=-1))


def test_unlabelled_views_show_no_label_but_the_same_image() -> None:
    shown, hidden = (views(labelled=labelled).view(0, np.random.default_rng(0)) for labelled in (True, False))
    assert (hidden.label == IGNORE).all()
    assert (shown.label != IGNORE).any()
    assert torch.equal(hidden.image, shown.image)


def test_a_sample_is_not_augmented_and_finds_back_to_its_points() -> None:
    sample = views(augmentation=Augmentation(), labelled=False).sample(2)
    scan = Scans().scan(2)
    assert sample.name == "00/000002"
    np.testing.assert_allclose(sample.view.image.numpy(), oracle(scan)[0], atol=2e-5)
    np.testing.assert_array_equal(sample.label, scan.label)
    np.testing.assert_allclose(sample.distance_m, np.linalg.norm(scan.xyz.astype(np.float64), axis=1), rtol=1e-6)
    pixels = sample.view.image[0].numpy() * STD[0] + MEAN[0]
    assert (sample.raster.back_project(pixels) <= sample.distance_m + 1e-4).all()


def test_a_part_of_the_azimuth_is_that_part_of_the_whole_view() -> None:
    whole = views(augmentation=Augmentation())
    part = views(augmentation=Augmentation(columns=48))
    starts = set()
    for seed in range(40):
        expected = whole.view(1, np.random.default_rng(seed))
        found = part.view(1, np.random.default_rng(seed))
        rolls = [s for s in range(128) if torch.equal(expected.image.roll(-s, -1)[..., :48], found.image)]
        assert rolls, "no columns of the whole view"
        assert any(torch.equal(expected.label.roll(-s, -1)[..., :48], found.label) for s in rolls)
        starts.add(rolls[0])
    assert max(starts) > 80, "none across the seam"
    assert len(starts) > 20
    assert part.sample(1).view.image.shape[-1] == 128


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"augmentation": Augmentation(columns=129)}, "columns is 129, wider than the range image's 128"),
        ({"mean": (0.0,)}, r"mean of shape \(1,\) for 5 channels; give one per channel"),
        ({"std": (1.0,) * 6}, r"std of shape \(6,\) for 5 channels"),
        ({"std": (1, 1, 0, 1, 1)}, "each must be positive"),
    ],
)
def test_wrong_statistics_say_what_to_give(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        views(**wrong)


def test_real_scans(kitti_root: Path, rng: np.random.Generator) -> None:
    source = SemanticKitti(kitti_root, sequences=["00"])
    made = RangeViews(
        source, SphericalProjection(64, 2048, 3.0, -25.0), mean=MEAN, std=STD, augmentation=Augmentation(drop=0.2)
    )
    view = made.view(0, rng)
    assert 0.6 < view.valid.float().mean() < 0.85
    assert (view.label[~view.valid] == IGNORE).all()
    assert (view.image[:, ~view.valid] == 0).all()
    assert (view.label[view.valid] < 19).float().mean() > 0.9


def test_a_scan_in_another_frame_is_turned_about_its_sensor() -> None:
    origin, beams = (-0.7, 0.3, 1.2), tuple(np.linspace(5, -27, 32))
    own = Scans()
    elsewhere = Scans([replace(scan, xyz=scan.xyz + np.float32(origin)) for scan in own.scans])
    centred, displaced = BeamProjection(128, beams), BeamProjection(128, beams, origin_m=origin)
    options = {"mean": MEAN, "std": STD, "augmentation": Augmentation(shift_m=0.0, scale=(1.0, 1.0))}
    for seed in range(4):
        one, same = (
            RangeViews(source, projection, **options).view(1, np.random.default_rng(seed))  # type: ignore[arg-type]
            for source, projection in ((own, centred), (elsewhere, displaced))
        )
        equal = one.valid & same.valid  # a point on a pixel's edge may be seen in the next one
        assert equal.float().mean() > 0.99 * one.valid.float().mean()
        assert ((one.image - same.image).abs().amax(dim=0) < 1e-3)[equal].float().mean() > 0.99
    still = RangeViews(elsewhere, displaced, mean=MEAN, std=STD).sample(1).view  # and evaluated in the same frame
    unturned = RangeViews(own, centred, mean=MEAN, std=STD).sample(1).view
    assert ((still.image - unturned.image).abs().amax(dim=0) < 1e-3).float().mean() > 0.99
