"""Pictures: the right colour at the right place; nothing drawn that is not there."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import random_scan
from PIL import Image

from rangeseg.labels import LabelMap
from rangeseg.optional import ViewerMissingError
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE
from rangeseg.vis.animation import write_gif
from rangeseg.vis.birds_eye import birds_eye, from_above, range_rings
from rangeseg.vis.panels import (
    BACKGROUND,
    RIGHT,
    WRONG,
    colorise,
    enlarge,
    error_picture,
    legend,
    panels,
    present,
    range_picture,
)
from rangeseg.vis.show import show_scan

PROJECTION = SphericalProjection(16, 128, 3.0, -25.0)


def test_every_class_has_its_colour_and_ignore_is_black(label_map: LabelMap) -> None:
    label = np.array([[0, 18], [IGNORE, 8]], np.int64)
    picture = colorise(label, label_map)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [
        [label_map.colors[0].tolist(), label_map.colors[18].tolist()],
        [[0, 0, 0], label_map.colors[8].tolist()],
    ]
    assert picture[1, 1].tolist() == [255, 0, 255]  # SemanticKITTI's road is magenta in RGB


def test_range_is_bright_near_dark_far_and_black_where_nothing_returns() -> None:
    picture = range_picture(np.array([1.0, 3.0, 5.0, 10.0, 30.0, 60.0, 200.0, 0.0, -1.0], np.float32)).astype(int)
    brightness = picture @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness[1:6]) < 0).all()
    assert picture[0].tolist() == picture[1].tolist()
    assert picture[5].tolist() == picture[6].tolist()
    assert picture[5].any()
    assert not picture[7:].any()


def test_errors_are_red_hits_grey_and_the_ignored_black() -> None:
    picture = error_picture(np.array([1, 1, 1, IGNORE]), np.array([1, 2, IGNORE, 1]))
    assert picture.tolist() == [list(RIGHT), list(WRONG), [0, 0, 0], [0, 0, 0]]


def test_enlarging_repeats_pixels_and_never_shrinks() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    large = enlarge(picture, 7, 9)
    assert large.shape == (6, 8, 3)
    np.testing.assert_array_equal(large[::3, ::2], picture)
    np.testing.assert_array_equal(enlarge(picture, 1, 1), picture)


def test_the_legend_shows_each_class_and_wraps(label_map: LabelMap) -> None:
    one_line, many = legend(label_map, [0, 8], 600), legend(label_map, range(19), 600)
    for train_id in (0, 8):
        assert (one_line == label_map.colors[train_id]).all(axis=-1).sum() > 100
    assert one_line.shape[1] == many.shape[1] == 600
    assert many.shape[0] > 2 * one_line.shape[0]
    assert present(np.array([IGNORE, 3, 3]), np.array([[1]])) == [1, 3]


def test_panels_stack_what_is_given(label_map: LabelMap, rng: np.random.Generator) -> None:
    range_m = rng.uniform(0, 60, (8, 64)) * (rng.random((8, 64)) < 0.8)
    label = np.where(range_m > 0, rng.integers(0, 19, (8, 64)), IGNORE)
    prediction = np.where(rng.random((8, 64)) < 0.5, label, 3)
    heights = [
        panels(range_m, *given, label_map=label_map, rows=32, columns=640).shape
        for given in ((), (label,), (None, prediction), (label, prediction))
    ]
    assert {shape[1:] for shape in heights} == {(640, 3)}
    assert heights[0][0] < heights[1][0] < heights[3][0]


def test_a_prediction_is_shown_only_where_a_return_is(label_map: LabelMap) -> None:
    range_m = np.zeros((4, 8))
    range_m[:, :4] = 5
    picture = panels(range_m, None, np.full((4, 8), 8), label_map=label_map, rows=4, columns=800)
    road = (picture == label_map.colors[8]).all(axis=-1)
    assert road[:, :400].sum() >= 4 * 400
    assert road[:, 400:].sum() == 0


def test_from_above_ahead_is_up_left_is_left_and_the_highest_wins(label_map: LabelMap) -> None:
    xyz = np.array(
        [[9.9, 9.9, 0], [-9.9, -9.9, 0], [0.1, -5.1, 2], [0.1, -5.1, 1], [0.1, -5.1, 3], [3, 3, 0]], np.float32
    )
    label = np.array([0, 8, 13, 14, IGNORE, IGNORE])
    picture = birds_eye(xyz, label, label_map, extent_m=10, pixels=20)
    expected = np.full((20, 20, 3), BACKGROUND, np.uint8)
    expected[0, 0], expected[19, 19], expected[9, 15] = label_map.colors[[0, 8, 13]]
    np.testing.assert_array_equal(picture, expected)


def test_points_outside_or_nowhere_are_left_out_in_any_order(rng: np.random.Generator) -> None:
    scan = random_scan(rng)
    scan.xyz[:3] = (np.nan, 0, 0), (0, np.inf, 0), (0, 0, -np.inf)
    colors = rng.integers(1, 255, (len(scan), 3), np.uint8)
    picture = from_above(scan.xyz, colors, extent_m=20, pixels=50)
    order = rng.permutation(len(scan))
    np.testing.assert_array_equal(picture, from_above(scan.xyz[order], colors[order], extent_m=20, pixels=50))
    cells = {
        (int((20 - x) * 1.25), int((20 - y) * 1.25))
        for x, y, z in scan.xyz.tolist()
        if np.isfinite([x, y, z]).all() and max(abs(x), abs(y)) < 20
    }
    drawn = {(int(row), int(col)) for row, col in np.argwhere((picture != BACKGROUND).any(axis=-1))}
    assert drawn == cells


def test_a_dot_covers_its_square() -> None:
    picture = from_above(
        np.array([[0, 0, 0]], np.float32), np.array([[9, 9, 9]], np.uint8), extent_m=5, pixels=10, dot=3
    )
    assert np.argwhere((picture == 9).all(axis=-1)).tolist() == [[row, col] for row in (5, 6, 7) for col in (5, 6, 7)]


def test_rings_lie_behind_the_points() -> None:
    xyz = np.array([[10.0, 0, 0]], np.float32)
    points = from_above(xyz, np.array([[250, 0, 0]], np.uint8), extent_m=20, pixels=200)
    ringed = range_rings(points, extent_m=20)
    assert (ringed[points[..., 0] == 250] == (250, 0, 0)).all()
    assert (ringed[100, 145:155] != BACKGROUND).any()


def test_a_sheet_of_a_scan_shows_all_and_leaves_out_what_is_not_there(
    label_map: LabelMap, rng: np.random.Generator
) -> None:
    scan = random_scan(rng)
    assert scan.label is not None
    prediction = np.where(rng.random(len(scan)) < 0.7, scan.label, 8)
    sheet = show_scan(PROJECTION(scan), prediction, label_map, columns=512)
    assert isinstance(sheet, Image.Image)
    pixels = np.asarray(sheet)
    assert (pixels == WRONG).all(axis=-1).any()
    assert (pixels == label_map.colors[13]).all(axis=-1).any()
    without = [
        show_scan(PROJECTION(replace(scan, label=label)), predicted, label_map, columns=512)
        for label, predicted in ((scan.label, None), (None, prediction), (None, None))
    ]
    assert {sheet.width, *(other.width for other in without)} == {512}
    assert all(not (np.asarray(other) == WRONG).all(axis=-1).any() for other in without)
    assert without[2].height < without[0].height


def test_a_prediction_of_another_scan_is_refused(label_map: LabelMap, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="give one train id for each of 2000 points"):
        show_scan(PROJECTION(random_scan(rng)), np.zeros(7, np.uint8), label_map)


def test_an_animation_says_how_to_get_open3d(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ViewerMissingError, match=r'pip install "rangeseg\[view\]".*libegl1 libgl1 libusb-1.0-0'):
        write_gif("points.gif", [(np.zeros((1, 3)), np.zeros((1, 3), np.uint8))], turns=1)


@pytest.mark.slow
def test_an_animation_is_drawn_without_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("open3d", reason="open3d is not installed", exc_type=ImportError)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "DISPLAY" not in os.environ
    xyz = np.stack([np.linspace(-20, 20, 500), np.linspace(-10, 10, 500), np.zeros(500)], axis=1)
    xyz[0] = np.nan
    write_gif(tmp_path / "points.gif", [(xyz, np.full((500, 3), (250, 0, 0), np.uint8))], turns=1)
    with Image.open(tmp_path / "points.gif") as picture:
        drawn = np.asarray(picture.convert("RGB"))
    assert drawn.shape == (540, 960, 3)
    assert (drawn == (250, 0, 0)).all(axis=-1).sum() > 100
