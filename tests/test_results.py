"""Numbers of the pages are those of JSON files and cards, and their commands name folders that exist by then."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest
from documents import ROOT, blocks

from rangeseg.apps.benchmark_ssl import cells
from rangeseg.apps.repeat import experiment_name
from rangeseg.config import read_config
from rangeseg.weights import find_weights, shipped

RESULTS = sorted((ROOT / "results").glob("*.md"))
CELLS = {key: cell for key, cell in json.loads((ROOT / "results/ssl/cells.json").read_text())["cells"].items() if cell}
METHODS = {
    "supervised": "supervised",
    "mean teacher": "mean_teacher",
    "CutOut": "cutout",
    "CutMix": "cutmix",
    "LaserMix of unlabelled scans": "lasermix",
    "LaserMix's released loop": "lasermix_loop",
    "FixMatch, ClassMix": "fixmatch",
    "warm teacher, CutMix, RangeFormer": "recipe",
}
"""Row of results/ssl.md -> method of its cells."""


def rows(text: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of the rows of a Markdown table, without bold type."""
    lines = [line for line in text.replace("**", "").splitlines() if line.startswith("| ")]
    return {first: cells for first, *cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}


def seeds(method: str, share: int) -> list[int]:
    return [seed for seed in range(3) if f"{method}:{share}:{seed}" in CELLS]


def spread(method: str, share: int, key: str) -> str:
    found = [100 * CELLS[f"{method}:{share}:{seed}"][key] for seed in seeds(method, share)]
    return f"{mean(found):.1f}" + (f" ± {stdev(found):.1f}" if len(found) > 1 else "")


def gains(method: str, share: int, key: str) -> str:
    pairs = ((CELLS[f"{one}:{share}:{seed}"][key] for one in (method, "supervised")) for seed in seeds(method, share))
    return ", ".join(f"{100 * (one - other):+.1f}" for one, other in pairs)


def test_the_tables_of_the_benchmark_follow_from_its_cells() -> None:
    page = (ROOT / "results/ssl.md").read_text()
    first, second = page.split("| seed 0 |")[0], page.split("## Every method, seed by seed")[1]
    scores, differences, single = rows(first), rows(second), rows(page.split("| seed 0 |")[1].split("\n\n")[0])
    keys = ("mean_iou", "accuracy")
    for row, method in METHODS.items():
        told = [
            [", ".join(map(str, seeds(method, share))), *(spread(method, share, key) for key in keys)]
            for share in (1, 10)
        ]
        assert scores[row] == [*told[0], *told[1]], row
        if method != "supervised":
            assert differences[row] == [gains(method, share, key) for share in (1, 10) for key in keys], row
        assert single[row] == [spread(method, share, key) for share in (20, 50) for key in keys], row
    assert set(CELLS) == {cell.key for cell in cells()}  # those of the command without --cells


def test_the_readme_repeats_the_benchmark() -> None:
    table = rows((ROOT / "README.md").read_text())
    for share, start in ((1, "12 of 1,200 synthetic scans labelled"), (10, "120 of them labelled")):
        (row,) = (cells for first, cells in table.items() if first.startswith(start))
        assert row[1:3] == [spread(method, share, "mean_iou") for method in ("supervised", "cutmix")]


def test_the_readme_repeats_the_cards_of_the_weights() -> None:
    table = rows((ROOT / "README.md").read_text().split("## Weights that ship")[1].split("\n## ")[0])
    for name in shipped():
        found = find_weights(name)
        assert found is not None
        told = next((value for key, value in found.card.scores.items() if "eight scans of 08" in key), None)
        if told is not None:
            assert table[f"`{name}`"][1] == f"{100 * told['mean_iou']:.1f}, {100 * told['accuracy']:.1f}", name


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.name)
def test_runs_in_commands_are_those_that_the_commands_of_the_page_write(page: Path) -> None:
    text = page.read_text()
    names = {experiment_name(word) for word in re.findall(r"[\w/]+(?:\+[\w/]+)*", text)}
    for start in re.findall(r"([\w/]+)\+\$\w+", text):  # a loop of the shell over the words of a list
        names |= {f"{experiment_name(start)}+{name}" for name in names}
    shell = " ".join(block.text for block in blocks(page)) + " ".join(re.findall(r"`(rangeseg [^`]+)`", text))
    for run, name in re.findall(r"(runs/(?:[\w+]+/)*([\w+]+)_seed\d)\b", shell):
        assert name in names or f"runtime.out={run}" in text, run


def test_a_config_whose_comment_says_that_it_may_be_copied_reads_elsewhere(tmp_path: Path) -> None:
    files = [path for path in (ROOT / "configs").rglob("*.yaml") if "Copy this file" in path.read_text()]
    assert files
    for path in files:
        copy = Path(shutil.copy(path, tmp_path / "mine.yaml"))
        keys = ["data.root=x", "runtime.out=x"]
        name = path.relative_to(ROOT / "configs").with_suffix("").as_posix()
        assert read_config(f"{copy}+cutmix", keys) == read_config(f"{name}+cutmix", keys)
