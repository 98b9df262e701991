"""Lists of names as editors save them: byte order mark, line ends of Windows, blank lines, comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_camvid
from test_pascal_voc import write_voc

from rangeseg.apps.split import read_permutation, write_lists
from rangeseg.data.lists import read_names
from rangeseg.photos.pascal_voc import PascalVOC

MARK = b"\xef\xbb\xbf"
SAVED = {
    "mark": MARK + b"a\nb\n",
    "mark and comment": MARK + b"# two\na  # first\nb\n",
    "Windows": MARK + b"a\r\n\r\nb\r\n",
    "comment": b"# a list of rangeseg split\n# its command\na\nb",
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_names_are_what_an_editor_shows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    assert read_names(tmp_path / "list.txt", pattern="[ab]", what="photograph", form="NAME", example="a") == ("a", "b")


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_a_training_list_of_voc_is_what_an_editor_shows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    dataset = PascalVOC(write_voc(tmp_path / "voc"), "train", train_list=str(tmp_path / "list.txt"))
    assert dataset.names == ("a", "b")
    assert all(dataset.label_path(index).is_file() for index in range(2))


def test_a_permutation_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "order.txt").write_bytes(MARK + b"2\r\n0\r\n1\r\n")
    assert np.array_equal(read_permutation(tmp_path / "order.txt", 3), [2, 0, 1])


def test_a_list_that_an_editor_saved_again_is_the_same_list(tmp_path: Path) -> None:
    root = write_camvid(tmp_path / "camvid")
    (path,) = write_lists(tmp_path / "lists", counts=[1], dataset="camvid", root=root)
    path.write_bytes(MARK + path.read_bytes().replace(b"\n", b"\r\n"))
    assert write_lists(tmp_path / "lists", counts=[1], dataset="camvid", root=root) == [path]
