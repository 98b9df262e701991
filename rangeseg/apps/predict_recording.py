"""`rangeseg predict RUN RECORDING --out RECORDING`: a copy of a recording with the labels of each cloud."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangeseg.engine.experiment import Experiment
from rangeseg.inference.autoware import autoware_ids
from rangeseg.inference.inputs import columns_of_run
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import did_you_mean
from rangeseg.scan_formats.checks import NoReturnsError
from rangeseg.scan_formats.fields import FieldNames, Fields
from rangeseg.scan_formats.point_cloud2 import AUTOWARE, Points, points_of_columns
from rangeseg.scan_formats.recordings import Message, Recording, writing
from rangeseg.scan_formats.scales import common_scale, ring_limits
from rangeseg.types import IGNORE, Scan

LAYOUTS = ("autoware", "fields")
CLASS_IDS = ("autoware", "train")
SEGMENTATION, FILTERED = "segmentation", "filtered"
"""Last parts of the new topics: ``/points/segmentation``."""


@dataclass(frozen=True)
class Labelling:
    """The form of labelled clouds.

    Args:
        label_map: the classes.
        layout: autoware: x, y, z, class_id, probability and entropy, see `AUTOWARE`; fields: the cloud's own fields,
            then `label` (raw id), `confidence` and `entropy`.
        class_ids: ids in the Autoware layout: autoware: the classes of Autoware; train: train ids.
        without: names of the classes whose points `filtered` removes.
        unsure: (K,) least confidence of a label of each class; other labels become IGNORE. None: keep all labels.

    Raises:
        ValueError: an unknown layout or class, or a class that Autoware's classes do not cover.
    """

    label_map: LabelMap
    layout: str = "autoware"
    class_ids: str = "autoware"
    without: Sequence[str] = ()
    unsure: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for what, value, known in (("layout", self.layout, LAYOUTS), ("class ids", self.class_ids, CLASS_IDS)):
            if value not in known:
                raise ValueError(f"Unknown {what} {value!r}; choose from {', '.join(known)}.")
        if self.layout == "fields" and self.class_ids == "train":
            raise ValueError("--class-ids train: only for --layout autoware; with --layout fields, labels are raw ids.")
        for name in self.without:
            if name not in self.label_map.names:
                hint = did_you_mean(name, list(self.label_map.names))
                raise ValueError(f"{self.label_map.dataset} has no class {name!r} to filter. {hint}")
        if self.layout == "autoware":
            self._ids()

    def labelled(self, points: Points, found: Segmentation | None) -> Points:
        """The cloud with its labels.

        Args:
            points: the N points of a message.
            found: their labels; None: no point has a label.
        """
        count, found = len(points.data), self._kept(found)
        labels = np.full(count, IGNORE, np.uint8) if found is None else found.labels
        zeros = np.zeros(count, np.float32)
        confidence = zeros if found is None or found.confidence is None else found.confidence
        entropy = zeros if found is None or found.entropy is None else found.entropy
        if self.layout == "fields":
            raw = self.label_map.to_raw(labels).astype(np.uint16)
            return points.extended({"label": raw, "confidence": confidence, "entropy": entropy})
        scan = None if found is None else found.sample
        xyz = scan.xyz if isinstance(scan, Scan) else np.zeros((count, 3), np.float32)
        columns: dict[str, NDArray] = {axis: xyz[:, k] for k, axis in enumerate("xyz")}
        columns |= {"class_id": self._ids()[labels], "probability": confidence, "entropy": entropy}
        return points_of_columns(AUTOWARE, columns, points.shape)

    def filtered(self, points: Points, found: Segmentation | None) -> Points:
        """The points whose class is not in `without`, unchanged; all points if there are no labels."""
        if (found := self._kept(found)) is None:
            return points
        out = [self.label_map.names.index(name) for name in self.without]
        return points.chosen(~np.isin(found.labels, out))

    def _kept(self, found: Segmentation | None) -> Segmentation | None:
        return found if found is None or self.unsure is None else found.sure(self.unsure)

    def _ids(self) -> NDArray[np.uint8]:
        return autoware_ids(self.label_map) if self.class_ids == "autoware" else np.arange(IGNORE + 1, dtype=np.uint8)


def find_recorded(recording: Recording, experiment: Experiment, requested: FieldNames) -> Fields:
    """Find the meaning of the columns from the first cloud with a return, see `columns_of_run`.

    Raises:
        ValueError: a cloud is not a valid scan, or no cloud has a return.
    """

    def every() -> Iterator[dict[str, NDArray]]:
        return (message.points.columns() for message in recording.messages(others=False))

    def scale(name: str) -> float:
        return common_scale(name, every())

    def rings(name: str) -> tuple[int, int]:
        return ring_limits(columns[name] for columns in every() if name in columns)

    for message in recording.messages(others=False):
        columns = message.points.columns()
        try:
            fields = columns_of_run(_place(message), columns, experiment, requested, scale, rings)
            fields.scan(_place(message), columns)
        except NoReturnsError:
            continue
        return fields
    raise ValueError(f"{recording.path}: none of the {recording.count} clouds of {recording.topic} has a return.")


def _scan(message: Message, fields: Fields) -> Scan | None:
    """A cloud as a scan; None if it has no return."""
    try:
        return fields.scan(_place(message), message.points.columns())
    except NoReturnsError:
        return None


def _place(message: Message) -> str:
    return f"{message.path}, cloud at {message.time_ns} ns"


def predict_recording(
    segmenter: Segmenter,
    path: Path,
    out: Path,
    labelling: Labelling,
    *,
    topic: str | None = None,
    fields: FieldNames | None = None,
    drop_input: bool = False,
    overwrite: bool = False,
    anyway: bool = False,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[str]:
    """Copy a recording and add the labels of its clouds, under the same header and at the same time.

    ``/points`` gets ``/points/segmentation`` and, if classes are left out, ``/points/filtered``.

    Args:
        segmenter: the run.
        path: a ROS 1 bag, or a ROS 2 bag: its folder, ``.mcap`` or ``.db3``.
        out: the new recording, of the same ROS version as `path`; a name without suffix is a folder.
        labelling: the form of the labelled clouds.
        topic: topic of the point clouds; required if there are several.
        fields: column names that replace those of the run and the common ones.
        drop_input: do not copy the input clouds.
        overwrite: replace an existing recording.
        anyway: accept that most clouds do not fit the run.
        workers: number of threads, see `Segmenter.stream`.
        progress: shows the progress.

    Yields:
        Messages about what was done.

    Raises:
        ImportError: rosbags is not installed.
        ValueError: the recording cannot be read, has no such topic or fewer clouds than it declares, or `out` cannot
            be written. In all these cases, `out` is unchanged. Also, after `out` was written: most clouds do not fit
            the run.
    """
    recording = Recording.find(path, topic)
    found, read = find_recorded(recording, segmenter.run.experiment, fields or {}), 0

    def scan(message: Message) -> Scan | None:
        return _scan(message, found) if recording.holds(message.connection) else None

    with writing(out, path, overwrite=overwrite) as writer:
        messages, same_messages = tee(recording.messages(others=True))
        labelled = segmenter.stream(messages, scan, workers=workers, confidence=True)
        for message, labels in progress(zip(same_messages, labelled, strict=True), "labelling", recording.total):
            cloud = recording.holds(message.connection)
            read += cloud
            if not (cloud and drop_input):
                writer.copy(message)
            if cloud:
                points = labelling.labelled(message.points, labels)
                writer.add(message, f"{recording.topic}/{SEGMENTATION}", points)
            if cloud and labelling.without:
                writer.add(message, f"{recording.topic}/{FILTERED}", labelling.filtered(message.points, labels))
        if read < recording.count:
            raise ValueError(
                f"{path}: declares {recording.count} clouds but holds {read}, so it is incomplete. Copy it again."
            )
    yield f"{read} clouds of {recording.topic} labelled in {out}, on topic {recording.topic}/{SEGMENTATION}"
    yield from segmenter.domain_check.summary(anyway=anyway)
