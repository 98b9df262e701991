"""Labelled lists: counts, nesting, and the shipped files from the command they name."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rangeseg.data.semantic_kitti import SemanticKitti, read_list
from rangeseg.data.split import BLOCK_FRAMES, FRACTIONS, draw_nested_lists, official_names, write_lists
from rangeseg.resources import resource

SHIPPED = resource("datasets", "semantic_kitti", "splits")
NAMES = official_names(SemanticKitti.read_label_map(), "train")
COUNTS = {0.01: 191, 0.1: 1913, 0.2: 3826, 0.5: 9565}


def test_official_names() -> None:
    assert len(NAMES) == len(set(NAMES)) == 19130
    assert list(NAMES) == sorted(NAMES)
    assert (NAMES[0], NAMES[4540], NAMES[4541], NAMES[-1]) == ("00/000000", "00/004540", "01/000000", "10/001200")
    assert not any(name.startswith("08") for name in NAMES)


@pytest.mark.parametrize("by", ["frame", "block"])
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_and_nesting(by: str, seed: int) -> None:
    lists = draw_nested_lists(NAMES, FRACTIONS, seed, by)
    assert {fraction: len(drawn) for fraction, drawn in lists.items()} == COUNTS
    for smaller, larger in pairwise(lists.values()):
        assert set(smaller) < set(larger)
    for drawn in lists.values():
        assert list(drawn) == sorted(set(drawn))
        assert set(drawn) <= set(NAMES)


def test_by_frame_is_uniform_over_the_sequences() -> None:
    for seed in range(5):
        drawn = draw_nested_lists(NAMES, [0.2], seed)[0.2]
        for sequence in SemanticKitti.read_label_map().splits["train"]:
            total = sum(name.startswith(sequence) for name in NAMES)
            got = sum(name.startswith(sequence) for name in drawn)
            deviation = np.sqrt(total * 0.2 * 0.8)
            assert abs(got - 0.2 * total) < 4 * deviation


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_by_block_draws_whole_blocks_but_one(fraction: float) -> None:
    drawn = set(draw_nested_lists(NAMES, [fraction], 0, "block")[fraction])
    blocks: dict[tuple[str, int], list[str]] = {}
    for name in NAMES:
        sequence, frame = name.split("/")
        blocks.setdefault((sequence, int(frame) // BLOCK_FRAMES), []).append(name)
    partly = [names for names in blocks.values() if 0 < sum(name in drawn for name in names) < len(names)]
    assert len(partly) <= 1
    for names in partly:
        inside = [name in drawn for name in names]
        assert inside == sorted(inside, reverse=True)  # its first frames


def test_blocks_leave_fewer_unlabelled_neighbours_than_frames() -> None:
    def neighbours(by: str) -> int:
        drawn = set(draw_nested_lists(NAMES, [0.1], 0, by)[0.1])
        return sum((a in drawn) != (b in drawn) for a, b in pairwise(NAMES))

    assert neighbours("block") * 10 < neighbours("frame")


def test_a_scans_place_does_not_depend_on_order_or_company() -> None:
    few = NAMES[:200]
    assert draw_nested_lists(few[::-1], [0.1, 0.5]) == draw_nested_lists(few, [0.1, 0.5])
    half = set(draw_nested_lists(few, [0.5])[0.5])
    assert set(draw_nested_lists(sorted(half), [0.2])[0.2]) == set(draw_nested_lists(few, [0.1])[0.1])


def test_seeds_draw_different_scans() -> None:
    for by in ("frame", "block"):
        assert draw_nested_lists(NAMES, [0.1], 0, by) != draw_nested_lists(NAMES, [0.1], 1, by)


def test_at_least_one_scan() -> None:
    assert len(draw_nested_lists(NAMES[:5], [0.001])[0.001]) == 1
    assert draw_nested_lists(NAMES[:5], [1.0])[1.0] == NAMES[:5]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"by": "sequence"}, "by frame or block, not by 'sequence'"),
        ({"fractions": [0.1, 10]}, r"\[10\] are not in \(0, 1\]"),
        ({"fractions": [0.0]}, r"\[0\.0\] are not"),
        ({"names": []}, "no scans to draw from"),
    ],
)
def test_wrong_arguments(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw_nested_lists(**({"names": NAMES[:10]} | arguments))


@pytest.mark.parametrize(("by", "kind"), [("frame", "uniform"), ("block", "blocks")])
def test_the_shipped_lists_are_those_of_the_command(tmp_path: Path, by: str, kind: str) -> None:
    written = write_lists(tmp_path, seed=0, by=by)
    assert [path.name for path in written] == [f"train_{percent}pct_{kind}.txt" for percent in (1, 10, 20, 50)]
    for path, count in zip(written, COUNTS.values(), strict=True):
        assert path.read_bytes() == (SHIPPED / path.name).read_bytes()
        assert len(read_list(path)) == count


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("train_*.txt")), ids=lambda path: path.stem)
def test_the_header_names_the_command(path: Path) -> None:
    title, command = path.read_text().splitlines()[:2]
    assert title == f"# SemanticKITTI: {len(read_list(path))} of 19130 training scans, labelled."
    by = "frame" if path.stem.endswith("uniform") else "block"
    words = shlex.split(command)
    assert words[:5] == ["#", "rangeseg", "split", "--out", "OUT"]
    assert words[words.index("--by") + 1] == by
    assert words[words.index("--seed") + 1] == "0"


def test_the_command_line_draws_the_shipped_lists(tmp_path: Path) -> None:
    cli = pytest.importorskip("rangeseg.cli", reason="needs the command line's libraries")
    path = SHIPPED / "train_1pct_blocks.txt"
    words = shlex.split(path.read_text().splitlines()[1])[2:]
    cli.main([str(tmp_path) if word == "OUT" else word for word in words])
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_lists_of_the_scans_that_are_there(tmp_path: Path, kitti_root: Path) -> None:
    (path,) = write_lists(tmp_path, fractions=[0.2], root=kitti_root)
    assert len(SemanticKitti(kitti_root, frames=path)) == 7
    assert f"--root {kitti_root}" in path.read_text()
