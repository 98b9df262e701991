"""Synthetic streets as a dataset: scans generated on demand, with SemanticKITTI's names and splits.

    SS/FFFFFF     scan F of sequence S; a sequence is a drive along one street after another

Scan F of a sequence is always the same: it depends only on the seed, S, F and the sensor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.dataset import ScanDataset
from rangeseg.data.lists import keep_listed, place_of_list
from rangeseg.data.semantic_kitti import SemanticKitti, read_list, sequence_names
from rangeseg.labels import LabelMap
from rangeseg.notices import notify
from rangeseg.sensors import read_sensor
from rangeseg.synthetic.beams import read_beams
from rangeseg.synthetic.random_sensor import RANDOM, RandomSensor, draw_sensor
from rangeseg.synthetic.raycast import Lidar, Poses, Returns, World
from rangeseg.synthetic.street import Street, build_street, check_drive
from rangeseg.types import Scan

APART_M = 10_000.0
"""Distance between the streets of a sequence in the world frame of its poses, metres."""

VERSION = 1
"""Version of the streets; it must change if the same `settings` give other scans, as the digests of
`rangeseg.apps.ssl_streets` show."""

_SENSOR = 1
"""Part of the seed that separates the draw of a scan's sensor from the draws of the scan."""


class SyntheticStreets(ScanDataset):
    """Scans of generated streets with a label for every point. Needs Open3D (extra `view`).

    Args:
        root: unused; there are no files.
        split: train, val or test, with the sequences of SemanticKITTI's split, so no two splits share a street.
        subset: names of the scans to use, or a list file of names; default: all.
        labels: return labels.
        sequences: sequences of the split to use, or a single one; default: all.
        scans: number of scans of each sequence.
        sensor: name of a shipped sensor, a YAML file, or random: each scan has another sensor and mount, drawn by
            `rangeseg.synthetic.random_sensor`.
        firings: number of firings per turn; default: that of the sensor. Random sensors have their own.
        seed: another seed gives other streets.
        kind: kind of street, one of `rangeseg.synthetic.kinds.KINDS`; None: all kinds.
        scans_per_street: number of scans of each street; more are faster, fewer give more streets.
        spacing_m: distance between consecutive scans of a street, metres.
        compensated: all points are in the sensor's frame at one time, as in KITTI's files.
        streets_kept: number of built streets that stay in memory, about 25 MB each.

    Raises:
        ValueError: a split, sequence, sensor, kind or scan is unknown, or a number is out of its range.
    """

    folder: ClassVar[str] = "synthetic"

    def __init__(
        self,
        root: str | Path = "",
        split: str = "train",
        *,
        subset: str | Path | Iterable[str] | None = None,
        labels: bool = True,
        sequences: str | int | Iterable[str | int] | None = None,
        scans: int = 100,
        sensor: str = "hdl64e",
        firings: int | None = None,
        seed: int = 0,
        kind: str | None = None,
        scans_per_street: int = 20,
        spacing_m: float = 4.0,
        compensated: bool = True,
        streets_kept: int = 8,
    ) -> None:
        counts = {"scans": scans, "scans_per_street": scans_per_street, "streets_kept": streets_kept}
        if wrong := {name: count for name, count in counts.items() if count < 1}:
            raise ValueError(f"SyntheticStreets: {wrong} is too small; give at least 1.")
        if seed < 0:
            raise ValueError(f"SyntheticStreets: seed is {seed}; give 0 or more.")
        self._label_map = self.read_label_map()
        self._seed, self._kind, self._labels = seed, kind, labels
        self._per_street, self._spacing = scans_per_street, spacing_m
        self._lidar = _lidar(sensor, firings, compensated=compensated)
        self._sensor, self._compensated = sensor, compensated
        self._names = [f"{s}/{k:06d}" for s in self._chosen(split, sequences) for k in range(scans)]
        if subset is not None:
            listed = read_list(subset) if isinstance(subset, str | Path) else subset
            cure = f"Sequences have {scans} scans; name some of them as SS/FFFFFF."
            self._names = keep_listed(self._names, listed, place_of_list("synthetic", subset), what="scan", cure=cure)
        self._streets: OrderedDict[tuple[int, int], tuple[Street, World]] = OrderedDict()
        self._kept, self._lock = streets_kept, Lock()
        check_drive(self._drive, kind)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines a scan, besides its name."""
        return {
            "version": VERSION,
            "seed": self._seed,
            "sensor": self._sensor if self._lidar is None else asdict(read_sensor(self._sensor)),
            "firings": None if self._lidar is None else self._lidar.beams.firings,
            "kind": self._kind,
            "scans_per_street": self._per_street,
            "spacing_m": self._spacing,
            "compensated": self._compensated,
        }

    @classmethod
    def read_label_map(cls) -> LabelMap:
        """SemanticKITTI's classes."""
        return SemanticKitti.read_label_map()

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._label_map

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The name of scan `index`, e.g. ``08/000012``."""
        return self._names[index]

    def scan(self, index: int) -> Scan:
        """Scan `index`, with beams as rings, and with labels unless `labels` is False."""
        returns = self.returns(index)
        label = self._label_map.to_train(returns.raw) if self._labels else None
        return Scan(returns.xyz, returns.remission, ring=returns.ring, label=label)

    def returns(self, index: int) -> Returns:
        """Scan `index` with raw ids and instances, as in files."""
        street, world, travelled = self._place(index)
        poses, rng = self._poses(index)
        moving = street.moving(travelled)
        movers = None if moving is None else World(moving)
        if self._lidar is not None:
            return self._lidar.scan(world, poses, rng, movers)
        sensor = self.sensor(index)
        lidar = Lidar(sensor.beams, ego=sensor.ego, compensated=self._compensated)
        return sensor.received(lidar.scan(world, poses, rng, movers), rng)

    def pose(self, index: int) -> NDArray[np.float64]:
        """(4, 4) pose of the sensor in the world, metres; the streets are `APART_M` apart."""
        poses, _ = self._poses(index)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = poses.turn[poses.still], poses.origin[poses.still]
        pose[0, 3] += self._numbers(index)[1] // self._per_street * APART_M
        return pose

    def _numbers(self, index: int) -> tuple[int, int]:
        """The sequence of scan `index`, and its number in the sequence."""
        sequence, number = self._names[index].split("/")
        return int(sequence), int(number)

    def _place(self, index: int) -> tuple[Street, World, float]:
        """The street of scan `index`, its mesh for ray casting, and the distance travelled on it, metres."""
        sequence, number = self._numbers(index)
        street, world = self._street(sequence, number // self._per_street)
        return street, world, number % self._per_street * self._spacing

    def _poses(self, index: int) -> tuple[Poses, np.random.Generator]:
        """The poses of the sensor during the turn, and the random generator for the rest of the scan."""
        sequence, number = self._numbers(index)
        rng = np.random.default_rng((self._seed, sequence, number))
        street, _, travelled = self._place(index)
        if self._lidar is not None:
            return street.poses(travelled, self._lidar.beams.firings, rng), rng
        sensor = self.sensor(index)
        return sensor.mounted(street.poses(travelled, sensor.beams.firings, rng)), rng

    def sensor(self, index: int) -> RandomSensor:
        """The random sensor of scan `index`; it depends only on the seed and the scan's name."""
        sequence, number = self._numbers(index)
        return draw_sensor(np.random.default_rng((self._seed, sequence, number, _SENSOR)))

    def scan_path(self, index: int) -> Path:
        """Always raises an error, because the scans are not files.

        Raises:
            ValueError: always; the message describes how to get files.
        """
        raise ValueError(
            f"Scan {self.name(index)} is not a file; write streets with `rangeseg synthesise` and name those."
        )

    def _street(self, sequence: int, number: int) -> tuple[Street, World]:
        """A street from the cache or newly built; the least recently used street is dropped."""
        with self._lock:
            if (sequence, number) not in self._streets:
                street = build_street((self._seed, sequence, number), kind=self._kind, drive=self._drive)
                self._streets[sequence, number] = street, World(street.mesh)
            self._streets.move_to_end((sequence, number))
            while len(self._streets) > self._kept:
                self._streets.popitem(last=False)
            return self._streets[sequence, number]

    @property
    def _drive(self) -> float:
        return (self._per_street - 1) * self._spacing

    def _chosen(self, split: str, sequences: str | int | Iterable[str | int] | None) -> list[str]:
        splits = self._label_map.splits
        if split not in splits:
            raise ValueError(f"Synthetic streets have no split {split!r}; use {', '.join(splits)}.")
        if sequences is None:
            return list(splits[split])
        wanted = sequence_names(sequences)
        if foreign := [sequence for sequence in wanted if sequence not in splits[split]]:
            raise ValueError(
                f"Sequences {', '.join(foreign)} are not in split {split}; use {', '.join(splits[split])}."
            )
        return wanted


def _lidar(sensor: str, firings: int | None, *, compensated: bool) -> Lidar | None:
    """The simulated sensor; None if each scan has another one.

    A notice tells of a sensor whose table of beams is for scans in another frame, where the streets are not.

    Raises:
        ValueError: the sensor is unknown, or `firings` is given for random sensors.
    """
    if sensor == RANDOM:
        if firings is not None:
            raise ValueError(f"SyntheticStreets: firings is {firings}; random sensors have their own, so leave it out.")
        return None
    beam = read_sensor(sensor).sections.get("beam", {})
    if any(beam.get("origin_m", ())) or any(beam.get("tilt_deg", ())):
        notify(
            f"{sensor}: its origin_m and tilt_deg are for scans that are not in the sensor's frame, but these streets "
            "are in it. Project them with a copy of the sensor's YAML without origin_m and tilt_deg."
        )
    return Lidar(read_beams(sensor, firings), compensated=compensated)
