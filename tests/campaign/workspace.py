"""The files that a campaign damages, and the runs that read them; made once, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from campaign.warm import run_command
from rangeseg.config import Config, write_config


def write_run(config: Config, folder: Path) -> None:
    """A run folder whose network has learnt nothing, but labels."""
    from rangeseg.engine.checkpoint import write_checkpoint
    from rangeseg.engine.experiment import Experiment

    folder.mkdir()
    network = Experiment(config).make_network()
    write_checkpoint(folder / "last.pt", {"teacher": network.state_dict()}, config)
    (folder / "config.yaml").write_text(write_config(config))


def write_drive(root: Path) -> None:
    """Poses for sequence 00 of the tiny dataset."""
    from test_trajectory import curve

    from rangeseg.drive.kitti_poses import write_kitti_poses
    from rangeseg.drive.trajectory import Trajectory

    write_kitti_poses(root / "sequences" / "00", Trajectory(("000000", "000001", "000002"), curve(3, 0.1)))


def write_recordings(root: Path) -> None:
    """Two clouds as a ROS 1 bag, as MCAP and as SQLite; a turn of a VLP-16."""
    from conftest import random_scan
    from recordings import write_recording
    from scan_writers import table
    from test_scan_formats import TestCaptures

    rows = [table(random_scan(np.random.default_rng(number), 300)) for number in (0, 1)]
    root.mkdir()
    for name in ("rec.bag", "rec_mcap", "rec_db3"):
        (root / name.replace(".", "_of_")).mkdir()
        write_recording(root / name.replace(".", "_of_") / name, rows)
    (root / "capture").mkdir()
    TestCaptures().velodyne(root / "capture" / "turn.pcap", 80)


def write_sensor_scan(root: Path) -> None:
    """A scan of a sensor with 16 beams, in the order of a turn."""
    root.mkdir()
    azimuth, beam = np.meshgrid(np.linspace(np.pi, -np.pi, 600, endpoint=False), np.arange(16), indexing="ij")
    inclination = np.deg2rad(15 - 2 * beam.ravel())
    flat, distance = azimuth.ravel(), 8 + 2 * np.sin(3 * azimuth.ravel())
    x, y = distance * np.cos(inclination) * np.cos(flat), distance * np.cos(inclination) * np.sin(flat)
    points = np.stack([x, y, distance * np.sin(inclination), np.full(flat.size, 0.3)], axis=1)
    points.astype("<f4").tofile(root / "scan.bin")


def make(folder: str, onnx: bool) -> None:
    """Write all of it below a folder; ``done`` is written last.

    Args:
        folder: empty.
        onnx: export a network, too; takes half a minute.
    """
    from conftest import make_photo_config, make_tiny_config, write_tiny_kitti
    from test_nuscenes import write_nuscenes
    from test_scan_fuzz import whole_files
    from test_weights import FACTS

    root = Path(folder)
    write_tiny_kitti(root / "kitti")
    write_drive(root / "kitti")
    config = make_tiny_config(root / "kitti", root)
    write_run(config, root / "run")
    photos = make_photo_config(root)
    write_run(photos, root / "photo_run")
    for name, content in whole_files().items():
        (root / "scans" / name.replace(".", "_")).mkdir(parents=True)
        (root / "scans" / name.replace(".", "_") / name).write_bytes(content)
    write_recordings(root / "recordings")
    write_nuscenes(root / "nuscenes", "v1.0-mini", {"scene-0061": 2})
    (root / "texts").mkdir()
    (root / "texts" / "config.yaml").write_text(write_config(config))
    (root / "texts" / "frames.txt").write_text("00/000000\n00/000001\n00/000002\n")
    write_sensor_scan(root / "sensor")
    (root / "facts.json").write_text(json.dumps(FACTS))
    for words in (
        ["weights", "--pack", root / "run", "--name", "tiny", "--facts", root / "facts.json", "--out", root / "packed"],
        ["export", root / "run", "--out", root / "pt" / "w.pt"],
        ["train", root / "texts" / "config.yaml", f"runtime.out={root / 'begun' / 'run'}", "optim.steps=1"],
        *([["export", root / "run", "--out", root / "onnx" / "w.onnx"]] if onnx else []),
    ):
        outcome = run_command(words)
        if outcome.code != 0:
            raise RuntimeError(f"{words}: {outcome.err}")
    (root / "done").touch()


def link_tree(of: Path, to: Path, but: Path) -> None:
    """A copy of a folder by links, without one file; that is to be written anew."""
    for place, _, names in os.walk(of):
        here = to / Path(place).relative_to(of)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            source = Path(place) / name
            if source != but:
                (here / name).symlink_to(source)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
