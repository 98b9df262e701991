"""`rangeseg analyse`, and the plots it draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.engine.analyse import patch_distance, scene_of
from rangeseg.vis.plots import COLORS, Axes, plot, ticks


def test_scans_and_photographs_are_measured_by_one_command(
    tiny_config: Config, photo_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, config in (("scans", tiny_config), ("photos", photo_config)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(write_config(config))
        out = tmp_path / name
        assert main(["analyse", "patch-distance", str(path), "--out", str(out), "--patches", "1", "3"]) == 0
        result = json.loads((out / "patch_distance.json").read_text())
        assert list(result["patches"]) == ["1", "3"]
        part = result["patches"]["3"]["neighbours"]
        assert sum(part["pairs"]) > 0
        assert np.average(
            [value or 0 for value in part["by_distance_from_boundary"]], weights=part["pairs"]
        ) == pytest.approx(part["mean"])
        assert (out / "patch_distance.png").stat().st_size > 1000
    assert "AUC" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_numbers(tiny_config: Config, tmp_path: Path) -> None:
    one, again, other = (
        patch_distance(tiny_config, tmp_path, patches=[3], anchors=50, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again
    assert one["patches"]["3"]["neighbours"] == other["patches"]["3"]["neighbours"]


def test_a_split_without_labels_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels"):
        patch_distance(tiny_config, tmp_path, split="test", patches=[3])


@pytest.mark.parametrize(("name", "scene"), [("08/000123", "08"), ("0016E5_01500", "0016E5"), ("frame", "frame")])
def test_scenes_are_told_by_names(name: str, scene: str) -> None:
    assert scene_of(name) == scene


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.21), (-3, 1234), (5, 5), (0, 0)])
def test_ticks_are_round_and_cover_their_values(low: float, high: float) -> None:
    made = ticks(low, high)
    assert made[0] <= low + 1e-9
    assert made[-1] >= high - 1e-9
    steps = np.diff(made)
    if len(steps):
        mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
        assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-6
        assert len(made) <= 10


def test_a_line_is_drawn_where_its_values_are() -> None:
    axes = Axes("title", "across", "up")
    rising, falling = (plot({"line": ([0, 10], ends)}, axes) for ends in ([0, 10], [10, 0]))
    assert rising.shape == (380, 560, 3)
    rows, columns = np.nonzero((np.abs(rising.astype(int) - COLORS[0]) < 40).all(-1) & (np.arange(560) < 400))
    assert np.corrcoef(rows, columns)[0, 1] < -0.9
    rows, columns = np.nonzero((np.abs(falling.astype(int) - COLORS[0]) < 40).all(-1) & (np.arange(560) < 400))
    assert np.corrcoef(rows, columns)[0, 1] > 0.9


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite values"):
        plot({"a": ([0, 1], [np.nan, np.inf])}, Axes("t", "x", "y"))
