"""Files found by patterns: splits that share files, links, and spellings of patterns and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rangeseg.data.patterns import Patterns
from rangeseg.notices import Notice
from rangeseg.paths import walk
from rangeseg.photos.folder import PhotoFolder

DEEP = "{split}/**/*.bin"


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path, files: str = DEEP, split: str = "train", **splits: list[str]) -> list[str]:
    return [pair.name for pair in found(root, files, split, **splits)]


def found(root: Path, files: str = DEEP, split: str = "train", **splits: list[str]) -> list:
    patterns = Patterns(files, "labels/{split}/{name}.label", "scans", ("*.bin", "{name}"))
    return patterns.find(root, split, splits or {"train": ["train"]}, (".bin", ".pcd.bin"), "scan")


@pytest.mark.parametrize(
    "splits",
    [
        {"train": ["a", "b"], "val": ["b"]},
        {"train": ["."], "val": ["a"]},
        {"train": ["a"], "val": ["a/deep/"]},
        {"train": ["a"], "val": ["./a"]},
        {"train": ["a"], "val": ["c"], "test": ["linked"]},
        {"train": ["a"], "val": ["one"]},
    ],
)
def test_splits_share_no_file(tmp_path: Path, splits: dict[str, list[str]]) -> None:
    write(tmp_path, "a/0.bin", "a/deep/1.bin", "b/0.bin", "c/0.bin")
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "deep")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "9.bin").symlink_to(tmp_path / "a" / "0.bin")
    if splits["train"] == ["."]:
        (tmp_path / "linked").unlink()
        (tmp_path / "one" / "9.bin").unlink()
    other = [*splits][-1]
    for split in ("train", other):
        with pytest.raises(ValueError, match=rf"splits (train and {other}|{other} and train) share scans, .*\.bin"):
            found(tmp_path, split=split, **splits)


def test_photographs_obey_the_same_law(tmp_path: Path) -> None:
    write(tmp_path, "a/0.png", "b/0.png")
    options = {"images": "{split}/*", "classes": "camvid"}
    apart = {"train": ["a"], "val": ["b"]}
    assert PhotoFolder(tmp_path, splits=apart, **options).names == ("0",)
    with pytest.raises(ValueError, match="splits train and val share photographs"):
        PhotoFolder(tmp_path, splits=apart | {"train": ["a", "b"]}, **options)


@pytest.mark.parametrize("more", [{"mini_train": ["a"]}, {"trainval": ["a", "b", "c"]}])
def test_splits_of_which_one_names_the_other_may_share_files(tmp_path: Path, more: dict[str, list[str]]) -> None:
    write(tmp_path, "a/0.bin", "b/0.bin", "c/0.bin")
    splits = {"train": ["a", "b"], "val": ["c"]} | more
    assert {split: len(found(tmp_path, split=split, **splits)) for split in splits} == {
        split: len(folders) for split, folders in splits.items()
    }


@pytest.mark.parametrize("folders", [["a", "a/deep"], ["a", "./a/"], ["a", "linked"]])
def test_a_split_has_each_file_once(tmp_path: Path, folders: list[str]) -> None:
    write(tmp_path, "a/deep/0.bin")
    (tmp_path / "linked").symlink_to("a")
    with pytest.raises(ValueError, match=r"split train has the same scan twice, as .*0\.bin and as .*0\.bin"):
        found(tmp_path, train=folders)


@pytest.mark.parametrize("files", [DEEP, "{split}/**/velodyne/*.bin", "{split}/*/*/*.bin", "{split}/**/velodyne/**"])
def test_linked_folders_are_searched(tmp_path: Path, files: str) -> None:
    write(tmp_path / "disk", "far/velodyne/1.bin")
    write(tmp_path, "train/near/velodyne/0.bin")
    (tmp_path / "train" / "far").symlink_to(tmp_path / "disk" / "far")
    assert len(found(tmp_path, files)) == 2


def test_circles_of_links_end(tmp_path: Path) -> None:
    write(tmp_path, "train/a/0.bin", "disk/b/1.bin")
    (tmp_path / "train/a/itself").symlink_to(".")
    (tmp_path / "train/a/up").symlink_to("..")
    (tmp_path / "train/a/b").symlink_to(tmp_path / "disk/b")
    (tmp_path / "disk/b/a").symlink_to(tmp_path / "train/a")
    assert names(tmp_path) == ["a/0", "a/b/1"]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in walk(tmp_path / "train")) == [
        "train/a/0.bin",
        "train/a/b/1.bin",
    ]


@pytest.mark.parametrize("files", ["{split}/*.bin", "./{split}/*.bin", "{split}//*.bin", "./{split}/./*.bin"])
@pytest.mark.parametrize("part", ["train", "train/", "./train", "./train//"])
def test_every_spelling_gives_the_same_names(tmp_path: Path, files: str, part: str) -> None:
    write(tmp_path, "train/000000.bin", "other/000000.bin")
    (pair,) = found(tmp_path, files, train=[part])
    assert (pair.name, pair.file) == ("000000", tmp_path / "train/000000.bin")
    assert pair.label == tmp_path / "labels/train/000000.label"
    assert names(tmp_path, files, train=[part, "other"]) == ["other/000000", "train/000000"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("{split}/[0-9]*.bin", ["000001", "000002.pcd"]),
        ("{split}/00*0[12].*", ["0001", "0002.pcd"]),
        ("{split}/*.[!c]in", ["000001", "000002.pcd"]),
        ("{split}/*.pcd.bin", ["000002"]),
        ("**/*.bin", ["train/000001", "train/000002.pcd"]),
        ("{split}/**", ["000001", "000002.pcd"]),
    ],
)
def test_a_name_goes_from_the_first_to_the_last_wildcard(tmp_path: Path, files: str, expected: list[str]) -> None:
    write(tmp_path, "train/000001.bin", "train/000002.pcd.bin")
    assert names(tmp_path, files) == expected


@pytest.mark.parametrize("files", ["/scans/*.bin", "{split}**/*.bin", "{split}/a**.bin"])
def test_patterns_that_find_something_else_are_refused(files: str) -> None:
    with pytest.raises(ValueError, match=r"scans is .*; give a pattern relative to the root .* alone between slashes"):
        Patterns(files, "{name}.label", "scans", ("scans/*.pcd", "labels/{name}.label"))


def test_a_folder_that_cannot_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "train/a/0.bin", "train/b/1.bin")
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(Notice, match="train/b: Permission denied; what is in it is left out"):
        assert names(tmp_path) == ["a/0"]
