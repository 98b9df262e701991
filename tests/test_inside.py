"""Names that come out of data never lead out of their folder: one function makes them paths, for every reader."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_nuscenes import write_nuscenes
from test_pascal_voc import write_voc

from rangeseg.apps.shown_scan import find_prediction
from rangeseg.data.nuscenes import NuScenes
from rangeseg.data.nuscenes_predictions import NuScenesPredictions
from rangeseg.data.prediction_files import ScanFiles
from rangeseg.data.rellis3d import Rellis3D
from rangeseg.data.scan_folder import ScanFolder
from rangeseg.inference.predict import find_tasks
from rangeseg.paths import inside
from rangeseg.photos.pascal_context import PascalContext
from rangeseg.photos.pascal_voc import PascalVOC

EVIL = {
    "up": "../../../x",
    "up in the middle": "a/../../x",
    "up at the end": "a/..",
    "absolute": "/etc/x",
    "a drive": "C:\\x",
    "another drive": "c:/x",
    "backslashes": "..\\..\\x",
    "a share": "\\\\host\\x",
    "NUL": "a\0b",
}


@pytest.mark.parametrize("name", [*EVIL.values(), "", ".", "./", "/", ".."])
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a path below"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "a/b.bin", "a..b", "...", ".hidden", "a:100:b", "é ü", "a b/c", "scene-0061/15"])
def test_a_plain_name_is_its_path(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name) == tmp_path / name
    assert inside(tmp_path, Path(name)) == tmp_path / name
    whole = Path(os.path.normpath(tmp_path / name))
    assert tmp_path in whole.parents


def test_links_on_the_disk_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "samples").symlink_to(tmp_path / "elsewhere")
    assert inside(tmp_path / "data", "samples/x.bin") == tmp_path / "data" / "samples" / "x.bin"


class Names:
    """An opened split whose scans and predictions are called by evil names."""

    split = "train"

    def __init__(self, name: str) -> None:
        self.evil = name

    def __len__(self) -> int:
        return 1

    def token(self, index: int) -> str:
        return self.evil

    def name(self, index: int) -> str:
        return self.evil

    def scan_path(self, index: int) -> Path:
        return Path("scan.bin")


class Own(ScanFiles):
    """A kind of prediction of somebody's own dataset."""

    def of_split(self, source: Any) -> list[tuple[Path, Path]]:
        return [(Path("scan.bin"), Path(f"{source.token(0)}.label"))]


def paths_of(source: Any) -> list[Path]:
    pairs = [source.pair(index) for index in range(len(source))]
    return [path for pair in pairs for path in (pair.file, pair.label) if path is not None]


def nuscenes(key: str, table: str = "sample_data", ending: str = "") -> Callable[[Path, str], Iterable[Path]]:
    """The paths of a split whose tables have an evil value in every row."""

    def read(root: Path, name: str) -> list[Path]:
        write_nuscenes(root, "v1.0-trainval", {"scene-0001": 1})
        path = root / "v1.0-trainval" / f"{table}.json"
        rows = json.loads(path.read_text())
        path.write_text(json.dumps([row | {key: f"{name}{ending}"} for row in rows]))
        return paths_of(NuScenes(root))

    return read


def nuscenes_predictions(root: Path, name: str) -> list[Path]:
    files = NuScenesPredictions(NuScenes.read_label_map())
    return [root / task.target for task in find_tasks([], files, Names(name))]


def own_predictions(root: Path, name: str) -> list[Path]:
    return [root / task.target for task in find_tasks([], Own(NuScenes.read_label_map()), Names(name))]


def rellis(root: Path, name: str) -> list[Path]:
    (root / "pt_train.lst").write_text(f"{name}/os1_cloud_node_kitti_bin/000000.bin x\n")
    return paths_of(Rellis3D(root))


def rellis_scan(root: Path, name: str) -> list[Path]:
    (root / "pt_train.lst").write_text(f"00000/os1_cloud_node_kitti_bin/{name} x\n")
    return paths_of(Rellis3D(root))


def voc(root: Path, name: str) -> list[Path]:
    write_voc(root)
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    for listed in lists.iterdir():
        listed.write_text(f"{name}\n")
    return paths_of(PascalVOC(root))


def context(root: Path, name: str) -> list[Path]:
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    (lists / "train.txt").write_text(f"{name}\n")
    return paths_of(PascalContext(root))


def folder(root: Path, name: str) -> list[Path]:
    (root / "x").mkdir()
    np.zeros((3, 4), np.float32).tofile(root / "x" / "a.bin")
    classes = {"classes": "semantic_kitti", "splits": {"train": [name]}, "scans": "{split}/*"}
    return paths_of(ScanFolder(root / "x", **classes))


def looked_for(root: Path, name: str) -> list[Path]:
    find_prediction(root, name, NuScenes.read_label_map())
    return []


PLACES: dict[str, Callable[[Path, str], Iterable[Path]]] = {
    "nuScenes: filename": nuscenes("filename", ending="/LIDAR_TOP/x.pcd.bin"),
    "nuScenes: token": nuscenes("token"),
    "nuScenes: scene": nuscenes("name", "scene"),
    "nuScenes: prediction": nuscenes_predictions,
    "own dataset: prediction": own_predictions,
    "Rellis: sequence": rellis,
    "Rellis: scan": rellis_scan,
    "VOC: list": voc,
    "Context: list": context,
    "folder of one's own: split": folder,
    "show: predictions of a scan": looked_for,
}


@pytest.mark.parametrize("place", PLACES)
def test_no_reader_makes_a_path_outside_of_its_folder(place: str, tmp_path: Path) -> None:
    for number, name in enumerate(EVIL.values()):
        root = tmp_path / str(number) / "root"
        root.mkdir(parents=True)
        try:
            paths = PLACES[place](root, name)
        except ValueError:
            continue
        assert paths, "it read nothing: the case tests nothing"
        assert all(root in Path(os.path.normpath(path)).parents for path in paths)


@pytest.mark.parametrize("place", ["nuScenes: filename", "nuScenes: token", "nuScenes: prediction", "Rellis: sequence"])
def test_the_error_says_which_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a path below"):
        PLACES[place](tmp_path, "../../../x" if "Rellis" not in place else "..")


def test_the_cases_read_what_is_not_evil(tmp_path: Path) -> None:
    good = {"Rellis: sequence": "00000", "Rellis: scan": "7.bin", "VOC: list": "a", "Context: list": "a"}
    good |= {"nuScenes: prediction": "t", "own dataset: prediction": "t", "folder of one's own: split": "."}
    for number, (place, name) in enumerate(good.items()):
        (tmp_path / str(number)).mkdir()
        assert PLACES[place](tmp_path / str(number), name)
