"""The head that labels points: what it reads, by a plain loop; what it leaves alone; and a run that uses one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg.apps.fit_head import fit_head
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import open_views
from rangeseg.evaluation.point_head import HeadLabels, PointHead, neighbours, read_head, undecided, write_head
from rangeseg.inference.run import Run
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.spherical import SphericalProjection
from rangeseg.types import IGNORE

SIDE = 3


@pytest.fixture
def image(rng: np.random.Generator) -> RangeImage:
    return SphericalProjection(8, 32, 3.0, -25.0)(random_scan(rng))


def window_of(image: RangeImage, point: int, wrap: bool) -> list[tuple[int, int] | None]:
    """The cells around a point, row by row; None outside the image."""
    cells: list[tuple[int, int] | None] = []
    for down in (-1, 0, 1):
        for along in (-1, 0, 1):
            v, u = image.row[point] + down, image.col[point] + along
            inside = 0 <= v < image.height and (wrap or 0 <= u < image.width)
            cells.append((v, u % image.width) if inside else None)
    return cells


@pytest.mark.parametrize("wrap", [False, True])
def test_undecided_points_have_two_classes_around_them(image: RangeImage, rng: np.random.Generator, wrap: bool) -> None:
    blocks = np.kron(rng.integers(0, 3, (2, 4)), np.ones((4, 8))).astype(np.uint8)
    expected = []
    for point in np.flatnonzero(~image.no_return):
        seen = {int(blocks[c]) for c in window_of(image, point, wrap) if c is not None and image.point_index[c] >= 0}
        if len(seen) > 1:
            expected.append(point)
    found = undecided(image, blocks, SIDE, wrap=wrap)
    assert 0 < len(found) < (~image.no_return).sum()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("wrap", [False, True])
def test_neighbours_are_those_of_a_plain_loop(image: RangeImage, wrap: bool) -> None:
    points = np.flatnonzero(~image.no_return)[:200]
    found = neighbours(image, points, SIDE, wrap=wrap)
    xyz = image.scan.xyz.astype(np.float64)

    def compressed(metres: float) -> float:
        return float(np.sign(metres) * np.log1p(10 * abs(metres)))

    for i, point in enumerate(points):
        for j, cell in enumerate(window_of(image, point, wrap)):
            there = cell is not None and image.point_index[cell] >= 0
            assert bool(found.valid[i, j]) == there
            if cell is None or not there:
                continue
            other = image.point_index[cell]
            assert int(found.cells[i, j]) == cell[0] * image.width + cell[1]
            values = [
                compressed(np.linalg.norm(xyz[other]) - np.linalg.norm(xyz[point])),
                compressed(np.linalg.norm(xyz[other] - xyz[point])),
                image.scan.remission[other] - image.scan.remission[point],
                j // 3 - 1, j % 3 - 1, j == 4,
            ]  # fmt: skip
            np.testing.assert_allclose(found.between[i, j], values, atol=2e-3)
        assert bool(found.own[i, 4]) == bool(image.hidden[point])
        np.testing.assert_allclose(found.own[i, 1], xyz[point, 2], rtol=1e-6)


def test_a_head_takes_the_word_of_the_neighbour_it_trusts(image: RangeImage, generator: torch.Generator) -> None:
    """One that weighs by "is the own pixel" alone is the nearest pixel's label."""
    head = PointHead(4, window=SIDE)
    with torch.no_grad():
        head.weigh[0].weight.zero_()
        head.weigh[0].weight[0, 5] = 1
        head.weigh[0].bias.zero_()
        head.weigh[2].weight.fill_(100)
    logits = torch.randn(4, image.height, image.width, generator=generator)
    points = np.flatnonzero(~image.no_return)
    said = head(logits.flatten(1).softmax(0).T, neighbours(image, points, SIDE)).argmax(1).numpy()
    np.testing.assert_array_equal(said, image.back_project(logits.argmax(0).numpy())[points])


def test_a_written_head_is_read_back(tmp_path: Path, image: RangeImage, generator: torch.Generator) -> None:
    head, file = PointHead(4, window=SIDE, wrap=True), tmp_path / "head.pt"
    write_head(file, head)
    again = read_head(file)
    assert again.form == head.form
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))
    logits = torch.randn(4, image.height, image.width, generator=generator).numpy()
    labels = HeadLabels(str(file))(image, logits, 4)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == 255, image.no_return)
    same = np.zeros_like(logits)
    same[2] = 5
    np.testing.assert_array_equal(HeadLabels(str(file))(image, same, 4)[~image.no_return], 2)
    with pytest.raises(ValueError, match="labels 4 classes, but the run has 5; fit a head to this run"):
        HeadLabels(str(file))(image, np.zeros((5, 8, 32), np.float32), 5)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"head\.pt: not a complete point head .*rangeseg fit-head"):
        read_head(file)
    with pytest.raises(ValueError, match="give an odd number"):
        PointHead(4, window=2)


def test_a_run_is_given_a_head_and_scored_with_it(
    tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, head = tmp_path / "run", tmp_path / "run" / "point_head.pt"
    small = ["network.width=8", "data.projection.width=64", "data.labelled=all", "optim.steps=2", "evaluation.every=0"]
    assert main(["train", "mini_kitti/quick", f"data.root={tiny_kitti}", f"runtime.out={run}", *small]) == 0
    assert main(["fit-head", str(run), "--steps", "5"]) == 0
    first = head.read_bytes()
    assert main(["fit-head", str(run), "--steps", "5"]) == 0
    assert head.read_bytes() == first, "the same seed gives another head"
    capsys.readouterr()
    assert main(["evaluate", str(run), f"evaluation.back_projection={{name: head, file: {head}}}"]) == 0
    assert "mIoU" in capsys.readouterr().out
    scan = tiny_kitti / "sequences" / "08" / "velodyne" / "000000.bin"
    words = ["predict", str(run), str(scan), "--out", str(tmp_path / "out")]
    assert main([*words, f"evaluation.back_projection={{name: head, file: {head}}}"]) == 0
    assert len(list((tmp_path / "out").rglob("*.label"))) == 1


@pytest.mark.parametrize("hidden_by", ["fraction", "carried"])
def test_a_head_is_fitted_to_the_labels_that_the_run_may_see(
    hidden_by: str, tiny_config: Config, tmp_path: Path
) -> None:
    """Other labels on the points that the experiment hides change nothing."""
    root = Path(shutil.copytree(tiny_config.data.root, tmp_path / "data"))
    carried = tmp_path / "carried/sequences/00/labels"
    shutil.copytree(root / "sequences/00/labels", carried)
    own: dict[str, object] = {"fraction": {"label_fraction": 0.2}, "carried": {"carried": str(tmp_path / "carried")}}
    data = replace(tiny_config.data, root=str(root), **own[hidden_by])  # type: ignore[arg-type]
    experiment = Experiment(replace(tiny_config, data=data))
    run = Run.of(experiment, experiment.make_network(), torch.device("cpu"))

    def fitted(name: str) -> bytes:
        fit_head(run, tmp_path / name, steps=5, window=3)
        return (tmp_path / name).read_bytes()

    first = fitted("head.pt")
    views: Any = open_views(experiment, "labelled")
    for index, file in enumerate(sorted((root / "sequences/00/labels").iterdir())):
        raw = np.fromfile(file, np.uint32)
        known = views.source.scan(index).label != IGNORE
        np.where(known & (hidden_by == "fraction"), raw, 81).astype(np.uint32).tofile(file)
    assert fitted("head.pt") == first
    other = replace(data, label_fraction=1.0, carried="none")
    experiment = Experiment(replace(tiny_config, data=other))
    run = replace(run, experiment=experiment)
    assert fitted("head.pt") != first, "the hidden labels would have changed the head"
