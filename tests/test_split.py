"""Labelled lists: counts, nesting, and the shipped files from the command they name."""

from __future__ import annotations

import os
import pickle
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_camvid

from rangeseg.apps.split import (
    BLOCK_FRAMES,
    FRACTIONS,
    draw_nested_lists,
    official_names,
    permuted,
    read_permutation,
    write_lists,
)
from rangeseg.cli import main
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.semantic_kitti import SemanticKitti, read_list
from rangeseg.photos.camvid import CamVid
from rangeseg.resources import resource

SHIPPED = resource("datasets", "semantic_kitti", "splits")
NAMES = official_names(SemanticKitti.read_label_map(), "train")
COUNTS = {0.01: 191, 0.1: 1913, 0.2: 3826, 0.5: 9565}


def test_official_names() -> None:
    assert len(NAMES) == len(set(NAMES)) == 19130
    assert list(NAMES) == sorted(NAMES)
    assert (NAMES[0], NAMES[4540], NAMES[4541], NAMES[-1]) == ("00/000000", "00/004540", "01/000000", "10/001200")
    assert not any(name.startswith("08") for name in NAMES)


def test_a_sequence_without_a_count_is_named() -> None:
    classes = SemanticKitti.read_label_map()
    counts = {name: count for name, count in classes.scan_counts.items() if name != "03"}
    with pytest.raises(ValueError, match="SemanticKITTI: scan_counts has no 03, so the names of these scans are unkno"):
        official_names(replace(classes, scan_counts=counts), "train")


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
        ({"by": "sequence"}, "by='sequence' is unknown; .* by frame, block, scene or permutation"),
        ({"fractions": [0.1, 10]}, r"\[10\] are not in \(0, 1\]"),
        ({"fractions": [0.0]}, r"\[0\.0\] are not"),
        ({"names": []}, "No scans to draw from"),
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


def test_by_scene_a_name_stands_for_all_scans_of_it(tmp_path: Path, kitti_root: Path) -> None:
    one, two = write_lists(tmp_path, counts=[1, 4], by="scene")
    assert [path.name for path in (one, two)] == ["train_1_scenes.txt", "train_4_scenes.txt"]
    assert "4 of 10 training scenes" in two.read_text()
    assert set(read_list(one)) < set(read_list(two)) < set(SemanticKitti.read_label_map().splits["train"])
    (there,) = write_lists(tmp_path, counts=[2], by="scene", root=kitti_root)
    sequences = read_list(there)
    names = SemanticKitti(kitti_root, labels=False).names
    assert set(sequences) <= {"00", "01", "02", "04", "06", "07", "09"}
    kept = SemanticKitti(kitti_root, labels=False, subset=there).names
    assert kept == tuple(name for name in names if name[:2] in sequences)
    assert len(kept) == 10


@pytest.mark.parametrize("percent", [1, 10, 20, 50])
def test_the_shipped_lists_of_nuscenes_scenes_are_those_of_the_command(tmp_path: Path, percent: int) -> None:
    (path,) = write_lists(tmp_path, fractions=[percent / 100], by="scene", dataset="nuscenes")
    shipped = resource("datasets", "nuscenes", "splits", f"train_{percent}pct_scenes.txt")
    scenes = NuScenes.read_label_map().splits["train"]
    names = shipped.read_text().splitlines()[2:]
    assert path.read_text().splitlines()[2:] == names
    assert len(names) == 7 * percent
    assert set(names) <= set(scenes)


def test_what_has_no_scenes_or_blocks(tmp_path: Path) -> None:
    root = write_camvid(tmp_path / "camvid", photos=3)
    with pytest.raises(ValueError, match=r"These scans have no scenes, .* draw by frame"):
        write_lists(tmp_path, by="scene", dataset="camvid", root=root)
    with pytest.raises(
        ValueError, match="scene-0061/1532402927647951 is not a scan of a sequence; draw by frame or by"
    ):
        draw_nested_lists(["scene-0061/1532402927647951"], [0.5], 0, "block")


def test_lists_of_the_scans_that_are_there(tmp_path: Path, kitti_root: Path) -> None:
    (path,) = write_lists(tmp_path, fractions=[0.2], root=kitti_root)
    assert len(SemanticKitti(kitti_root, subset=path)) == 7
    assert f"--root {kitti_root}" in path.read_text()


def test_a_list_is_not_replaced_by_other_names(tmp_path: Path, kitti_root: Path) -> None:
    options = {"fractions": [0.2, 0.4], "root": kitti_root}
    first, second = write_lists(tmp_path, **options)
    before = [path.read_bytes() for path in (first, second)]
    assert write_lists(tmp_path, **options) == [first, second]
    assert [path.read_bytes() for path in (first, second)] == before
    first.unlink()
    with pytest.raises(ValueError, match=r"train_40pct_uniform\.txt: exists and lists other names.*another --out"):
        write_lists(tmp_path, seed=1, **options)
    assert not first.exists()  # of the lists of a call, none is written
    assert second.read_bytes() == before[1]
    second.write_text("# drawn in another folder\n" + before[1].decode().partition("\n")[2])
    write_lists(tmp_path, **options)
    assert second.read_bytes() == before[1]


def test_by_permutation_the_first_of_numpys_own_order_are_labelled(tmp_path: Path) -> None:
    names = [f"n{number:04d}" for number in range(2975)]
    order = np.arange(2975)
    np.random.RandomState(12345).shuffle(order)
    assert permuted(names, 12345) == [names[place] for place in order]
    lists = draw_nested_lists(names, [100 / 2975, 744 / 2975], 12345, "permutation")
    assert [set(drawn) for drawn in lists.values()] == [{names[i] for i in order[:n]} for n in (100, 744)]
    root = write_camvid(tmp_path / "camvid", photos=7)
    order = np.random.RandomState(5).permutation(7)
    written = write_lists(tmp_path, dataset="camvid", root=root, by="permutation", counts=[2, 5], seed=5)
    assert [path.name for path in written] == ["train_2_seed5.txt", "train_5_seed5.txt"]
    for path, count in zip(written, (2, 5), strict=True):
        assert set(CamVid(root, subset=path).names) == {f"v_{place:04d}" for place in order[:count]}
        assert path.read_text().startswith(f"# CamVid: {count} of 7 training photographs, labelled.\n")


@pytest.mark.parametrize(("seed", "size"), [(12345, 2975), (56789, 100)])
def test_numpys_order_is_the_shuffle_it_has_always_been(seed: int, size: int) -> None:
    """Fisher and Yates from the end, each place the first 32-bit word of the Mersenne Twister whose low bits fit."""
    twister, order = np.random.MT19937(), list(range(size))
    twister._legacy_seeding(seed)
    for last in range(size - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while (place := int(twister.random_raw()) & mask) > last:
            pass
        order[last], order[place] = order[place], order[last]
    assert permuted([str(place) for place in range(size)], seed) == [str(place) for place in order]


@pytest.mark.parametrize("suffix", ["npy", "txt"])
def test_a_published_order_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"split_0.{suffix}"
    order = np.array([3, 0, 2, 1])
    if suffix == "npy":
        np.save(path, order)
    else:
        path.write_text("\n".join(map(str, order)))
    root = write_camvid(tmp_path / "camvid", photos=4)
    arguments = [
        "--by",
        "permutation",
        "--order",
        str(path),
        "--counts",
        "2",
        "--dataset",
        "camvid",
        "--root",
        str(root),
    ]
    assert main(["split", "--out", str(tmp_path), *arguments]) == 0
    written = tmp_path / "train_2_split_0.txt"
    assert CamVid(root, subset=written).names == ("v_0000", "v_0003")
    assert main(shlex.split(written.read_text().splitlines()[1].replace("OUT", str(tmp_path / "again")))[2:]) == 0
    assert (tmp_path / "again" / written.name).read_text() == written.read_text()


@pytest.mark.parametrize("words", [["--counts", "3", "--fractions", "0.5"], ["--seed", "4", "--order", "order.npy"]])
def test_options_that_replace_each_other_are_not_given_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["split", "--out", str(tmp_path), "--by", "permutation", *words])
    assert f"argument {words[2]}: not allowed with argument {words[0]}" in capsys.readouterr().err


def test_what_is_no_permutation(tmp_path: Path) -> None:
    np.save(tmp_path / "pickled.npy", np.array([{}], object))
    np.save(tmp_path / "twice.npy", np.array([0, 1, 1]))
    np.save(tmp_path / "real.npy", np.array([0.0, 1.0, 2.0]))
    (tmp_path / "words.txt").write_text("one two three")
    for name, said in (
        ("pickled.npy", "cannot be read"),
        ("absent.npy", "cannot be read"),
        ("words.txt", "give .npy, .pkl, or text with one integer per line"),
        ("twice.npy", r"is not a permutation of 0 to 2 for the 3 names"),
        ("real.npy", r"float64 of shape \(3,\) is not a permutation"),
    ):
        with pytest.raises(ValueError, match=rf"{name}: .*{said}"):
            read_permutation(tmp_path / name, 3)


def test_lists_by_count_that_cannot_be_drawn(tmp_path: Path) -> None:
    root = write_camvid(tmp_path / "camvid", photos=3)
    arguments = {"dataset": "camvid", "root": root}
    with pytest.raises(ValueError, match=r"Counts \[0, 4\] are out of range; .* 1 to 3"):
        write_lists(tmp_path, counts=[0, 2, 4], **arguments)
    with pytest.raises(ValueError, match="needs --by permutation, not --by frame"):
        write_lists(tmp_path, counts=[1], order="order.npy", **arguments)
    with pytest.raises(ValueError, match=r"dataset\.train_list: unknown key"):
        write_lists(tmp_path, options=["train_list=x"], **arguments)
    with pytest.raises(ValueError, match="'train_list': not an override; write key"):
        write_lists(tmp_path, options=["train_list"], **arguments)


def test_options_are_parsed_like_overrides(tmp_path: Path) -> None:
    for sequence in ("00", "01", "10"):
        path = tmp_path / "kitti" / "sequences" / sequence / "velodyne" / "000000.bin"
        path.parent.mkdir(parents=True)
        path.touch()
    for number, word in enumerate(("10", "'10'", "[10]", "['10']")):
        arguments: dict[str, Any] = {"root": tmp_path / "kitti", "options": [f"sequences={word}"]}
        (path,) = write_lists(tmp_path / str(number), fractions=[1], **arguments)
        assert read_list(path) == ("10/000000",)
    for key in ("root", "split", "subset", "labels"):
        with pytest.raises(ValueError, match=f"--options {key}: cannot be set"):
            write_lists(tmp_path, root=tmp_path / "kitti", options=[f"{key}=val"])
    with pytest.raises(ValueError, match="--options sequences=10: is not used without --root"):
        write_lists(tmp_path, options=["sequences=10"])


class Evil:
    """Runs a program where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickled_order_is_read_and_no_program_is_run(protocol: int, tmp_path: Path) -> None:
    order, path = np.random.RandomState(0).permutation(7), tmp_path / "split_0.pkl"
    for content in (order, order.tolist(), order.astype(">i4"), [np.int64(place) for place in order]):
        path.write_bytes(pickle.dumps(content, protocol))
        np.testing.assert_array_equal(read_permutation(path, 7), order)
    whole = path.read_bytes()
    evil, others = "an array: it imports", "numbers, but of object"
    for bad, what in (
        (Evil(tmp_path / "pwned"), evil),
        ([Evil(tmp_path / "pwned")], evil),
        (np.array([None]), others),
        ({"a": 1}, others),
    ):
        path.write_bytes(pickle.dumps(bad, protocol))
        with pytest.raises(ValueError, match=rf"split_0\.pkl: cannot be read \(not a pickle of {what}"):
            read_permutation(path, 7)
    for cut in range(0, len(whole), 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"split_0\.pkl: cannot be read"):
            read_permutation(path, 7)
    assert not (tmp_path / "pwned").exists()


def test_the_list_of_a_folder_of_scans_tells_what_it_lists_and_how_to_draw_it_again(tmp_path: Path) -> None:
    """Classes of the user's own name no sensor, and folders have spaces."""
    root, classes = tmp_path / "my scans", tmp_path / "my classes.yaml"
    for number in range(3):
        (root / "scans").mkdir(parents=True, exist_ok=True)
        (root / "scans" / f"{number}.pcd").touch()
    classes.write_text(
        "{dataset: mine, splits: {train: [a]}, classes: [{name: road, color: [0, 0, 0], raw: 1}], raw: {0: {name: none,"
        " class: ignore}, 1: {name: road, class: road}}}"
    )
    options = [f"classes={classes}", "scans=scans/*.pcd"]
    (path,) = write_lists(tmp_path / "lists", counts=[2], dataset="scan_folder", root=root, options=options)
    title, command, *names = path.read_text().splitlines()
    assert title == "# mine: 2 of 3 training scans, labelled."
    again = shlex.split(command.removeprefix("# rangeseg ").replace("OUT", str(tmp_path / "again")))
    assert main(again) == 0
    assert (tmp_path / "again" / path.name).read_text().splitlines()[2:] == names
