"""`rangeseg analyse`, and the plots it draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rangeseg.apps.analyse import _neighbours, patch_distance, scene_of
from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.types import View
from rangeseg.vis.plots import COLORS, Axes, log_ticks, plot, ticks


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
        for quantiles, mean in zip(part["quantiles"], part["by_distance_from_boundary"], strict=True):
            assert (quantiles is None) == (mean is None)
        assert sum(border["share"] for border in part["borders"].values()) <= 1 + 1e-9
        assert all(" | " in border for border in part["borders"])
        assert (out / "patch_distance.png").stat().st_size > 1000
    assert "AUC" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_numbers(tiny_config: Config, tmp_path: Path) -> None:
    one, again, other = (
        patch_distance(tiny_config, tmp_path, patches=[3], anchors=50, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again
    assert one["patches"]["3"]["neighbours"] == other["patches"]["3"]["neighbours"]


def test_borders_and_directions_are_told_apart() -> None:
    """Pictures that are flat from row to row: nothing shows below, all borders show to the right."""
    label = torch.zeros(40, 40, dtype=torch.int64)
    label[:, 20:], label[20:] = 1, 2
    image = (torch.arange(40) >= 20).float().expand(1, 40, 40) * 3
    view = View(image, torch.ones(40, 40, dtype=torch.bool), label)
    part = _neighbours([("a", view), ("b", view)], 1, False, ["road", "car", "tree"])
    across = (part["separability_right"], part["separability_below"])
    assert across == (pytest.approx(1, abs=0.02), pytest.approx(0.5, abs=0.01))
    assert {name: border["share"] for name, border in part["borders"].items()} == pytest.approx(
        {"road | tree": 1 / 3, "car | tree": 1 / 3, "road | car": 1 / 3}
    )
    assert part["borders"]["road | tree"]["relative"] == part["borders"]["car | tree"]["relative"] == 0
    assert part["borders"]["road | car"]["relative"] == pytest.approx(3 / part["mean"])
    assert part["quantiles"][0] == [0, 0, 0, 3, 3]  # of 40 pairs that look the same and 20 that do not
    assert set(part["insides"]) == {"road", "car", "tree"}


def test_views_of_one_class_have_no_boundaries_to_tell() -> None:
    view = View(torch.rand(1, 9, 9), torch.ones(9, 9, dtype=torch.bool), torch.zeros(9, 9, dtype=torch.int64))
    part = _neighbours([("a", view)], 3, False, ["road"])
    assert part["separability"] is part["contrast"] is part["quantiles"][0] is None
    assert part["borders"] == {}
    assert part["insides"]["road"]["share"] == 1
    flat = _neighbours([("a", View(torch.zeros(1, 9, 9), view.valid, view.label))], 3, False, ["road"])
    assert flat["mean"] == flat["relative"][-1] == 0
    assert flat["contrast"] is None


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


def test_a_line_keeps_its_colour_where_others_have_no_values() -> None:
    def colors(**lines: list[float]) -> set[int]:
        picture = plot({name: ([0, 1][: len(up)], up) for name, up in lines.items()}, Axes("t", "x", "y"))
        return {k for k, color in enumerate(COLORS) if (np.abs(picture.astype(int) - color) < 12).all(-1).any()}

    assert colors(a=[0, 1], b=[1, 0], c=[1, 1]) >= {0, 1, 2}
    assert colors(a=[], b=[1, 0], c=[np.nan, 1]) & {0, 1, 2} == {1, 2}


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite values"):
        plot({"a": ([0, 1], [np.nan, np.inf])}, Axes("t", "x", "y"))


@pytest.mark.parametrize(("low", "high"), [(1.7, 3.6), (0.0, 0.0), (-2.5, 7.1), (1.0, 1.31)])
def test_decades_cover_what_there_is_and_are_few(low: float, high: float) -> None:
    marks = log_ticks(low, high, 8)
    assert marks[0] <= low + 1e-9
    assert marks[-1] >= high - 1e-9
    assert 2 <= len(marks) <= 13
    assert all(round(10 ** (mark % 1)) in (1, 2, 5) for mark in marks)
