"""Where the real samples are, and what every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import street
import torch
from PIL import Image
from torch import nn

from rangeseg import LabelMap, Segmenter
from rangeseg.apps.steps import ChildProcesses
from rangeseg.cli import main
from rangeseg.config import Config, config_from
from rangeseg.networks.base import Network
from rangeseg.resources import resource
from rangeseg.types import Scan

DATA = Path(os.environ.get("RANGESEG_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    if not DATA.is_dir():
        pytest.skip(reason=f"real samples are not at {DATA}; set RANGESEG_DATA to their folder")
    return DATA


@pytest.fixture(scope="session")
def kitti_root(data_root: Path) -> Path:
    """The folder that holds SemanticKITTI's `sequences/`."""
    return data_root / "semantickitti"


@pytest.fixture(scope="session")
def shipped_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan that ships with the tests, in SemanticKITTI's layout."""
    return street.unpack(tmp_path_factory.mktemp("street"))


@pytest.fixture(scope="session", params=["shipped", "real"])
def scans_root(request: pytest.FixtureRequest) -> Path:
    """SemanticKITTI's layout twice: with the shipped scan, so that its laws run everywhere, and with real ones."""
    return request.getfixturevalue("shipped_root" if request.param == "shipped" else "kitti_root")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights and numbers that a test draws without a generator are the same in any order and choice of tests."""
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """The shipped network for a first answer."""
    return Segmenter.load("first-answer", device="cpu")


@pytest.fixture(scope="module")
def label_map() -> LabelMap:
    """The classes of SemanticKITTI."""
    return LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run in this process: a new one spends seconds on imports."""

    def run(self: ChildProcesses, command: Sequence[str], log: IO[str]) -> int:
        assert list(command[1:3]) == ["-m", "rangeseg.cli"]
        with redirect_stdout(log), redirect_stderr(log):
            return main(command[3:])

    monkeypatch.setattr(ChildProcesses, "run", run)


class Layers(nn.Sequential, Network):
    """A network of layers."""


def random_scan(rng: np.random.Generator, points: int = 2000, classes: int = 19) -> Scan:
    """Points all around the sensor, 1 to 60 m away, within HDL-64E's vertical field of view and a little beyond."""
    azimuth = rng.uniform(-np.pi, np.pi, points)
    inclination = np.deg2rad(rng.uniform(-28, 6, points))
    distance = rng.uniform(1, 60, points)
    xyz = distance[:, None] * np.stack(
        [np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth), np.sin(inclination)], axis=1
    )
    return Scan(
        xyz.astype(np.float32),
        rng.uniform(0, 1, points).astype(np.float32),
        label=rng.integers(0, classes, points).astype(np.uint8),
    )


@pytest.fixture(scope="session")
def tiny_kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up dataset in SemanticKITTI's layout."""
    return write_tiny_kitti(tmp_path_factory.mktemp("tiny_kitti"))


def write_tiny_kitti(root: Path) -> Path:
    """A made-up dataset in SemanticKITTI's layout: 3 scans of sequence 00, 2 of 08 and 1 of 11 (without labels)."""
    rng = np.random.default_rng(1)
    raw_ids = np.array([10, 40, 48, 50, 70])
    for sequence, frames in (("00", 3), ("08", 2), ("11", 1)):
        for frame in range(frames):
            scan = random_scan(rng, 1500)
            # what there is to learn: the class is the height
            label = raw_ids[np.digitize(scan.xyz[:, 2], [-6, -2, 0, 1])].astype(np.uint32)
            points = np.concatenate([scan.xyz, scan.remission[:, None]], axis=1).astype(np.float32)
            for folder, content, suffix in (("velodyne", points, "bin"), ("labels", label, "label")):
                if folder == "labels" and sequence == "11":
                    continue
                path = root / "sequences" / sequence / folder / f"{frame:06d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                content.tofile(path)
    return root


@pytest.fixture
def tiny_config(tiny_kitti: Path, tmp_path: Path) -> Config:
    """Four steps of a very small network on `tiny_kitti`."""
    return make_tiny_config(tiny_kitti, tmp_path)


def count_colors(picture: np.ndarray) -> int:
    """How many colours a picture of (H, W, 3) uint8 has; `np.unique` of rows takes seconds for that."""
    return len(np.unique(picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)))


def make_tiny_config(tiny_kitti: Path, folder: Path) -> Config:
    """Four steps of a very small network on `tiny_kitti`, in `folder`/run."""
    return config_from(
        [
            {
                "data": {
                    "root": str(tiny_kitti),
                    "projection": {
                        "name": "spherical",
                        "height": 16,
                        "width": 64,
                        "fov_up_deg": 6.0,
                        "fov_down_deg": -28.0,
                    },
                    "batch_labelled": 2,
                    "batch_unlabelled": 2,
                },
                "network": {"name": "fidnet", "width": 8, "blocks": [1, 1], "azimuth_stride": 2},
                "consistency": {"threshold": 0.0},
                "optim": {"steps": 4},
                "runtime": {
                    "out": str(folder / "run"),
                    "log_every": 1,
                    "checkpoint_every": 2,
                    "workers": 0,
                    "accelerator": "cpu",
                },
            }
        ]
    )


def write_camvid(root: Path, photos: int = 4, size: tuple[int, int] = (30, 44)) -> Path:
    """A made-up dataset in CamVid's layout; what there is to learn: the class is the redness."""
    rng = np.random.default_rng(2)
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number in range(photos):
            label = (
                rng.integers(0, 12, (size[0] // 5, size[1] // 4)).repeat(5, axis=0).repeat(4, axis=1).astype(np.uint8)
            )
            image = np.stack(
                [20 * label, np.full_like(label, 128), rng.integers(0, 256, label.shape, np.uint8)], axis=2
            )
            Image.fromarray(image).save(root / split / f"v_{number:04d}.png")
            Image.fromarray(label).save(root / f"{split}annot" / f"v_{number:04d}.png")
    return root


@pytest.fixture
def photo_config(tmp_path: Path) -> Config:
    """Four steps of a very small network on a made-up CamVid of 30 x 44 pixels, which no stride divides."""
    return make_photo_config(tmp_path)


def make_photo_config(folder: Path) -> Config:
    """Four steps of a very small network on a made-up CamVid in `folder`."""
    return config_from(
        [
            {
                "data": {
                    "root": str(write_camvid(folder / "camvid")),
                    "dataset": {"name": "camvid"},
                    "channels": ["red", "green", "blue"],
                    "mean": [0.485, 0.456, 0.406],
                    "std": [0.229, 0.224, 0.225],
                    "augmentation": {"crop": [16, 24]},
                },
                "network": {"name": "fidnet", "width": 8, "blocks": [1, 1, 1]},
                "consistency": {"threshold": 0.0},
                "optim": {"steps": 4},
                "evaluation": {"back_projection": {"name": "nearest"}},
                "runtime": {
                    "out": str(folder / "run"),
                    "log_every": 1,
                    "checkpoint_every": 2,
                    "workers": 0,
                    "accelerator": "cpu",
                },
            }
        ]
    )
