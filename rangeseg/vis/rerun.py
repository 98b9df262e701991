"""Scans for Rerun's viewer: points with class ids, images, confidence, a time line, a trajectory.

Needs the extra `rerun`. Shapes: N points, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import numpy as np

from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE
from rangeseg.vis.explorer import Frame

CONNECT = "connect"
"""Target instead of a file: a running viewer (`rerun`) on this machine."""

WAY = "/world/trajectory"
"""Place of the way so far, which stays if the pose of a scan is not known."""


class RerunMissingError(ImportError):
    """rerun-sdk is missing; the message contains the command that installs it."""


class RerunLog:
    """A recording that Rerun's viewer shows; a context manager.

    Args:
        target: a file that ends in ``.rrd``, ``connect`` for a viewer on this machine, or its URL, ``rerun+http://``.
        label_map: the classes.

    Raises:
        RerunMissingError: rerun-sdk is missing.
        ValueError: another target.
    """

    def __init__(self, target: str, label_map: LabelMap) -> None:
        try:
            import rerun
        except ImportError as error:
            raise RerunMissingError(f"{target}: needs rerun-sdk: pip install 'rangeseg[rerun]'.") from error
        self._rerun: Any = rerun
        self._stream: Any = rerun.RecordingStream("rangeseg")
        if target == CONNECT or target.startswith("rerun+http"):
            self._stream.connect_grpc(None if target == CONNECT else target)
        elif target.endswith(".rrd"):
            self._stream.save(target)
        else:
            raise ValueError(
                f"{target}: give FILE.rrd, connect, or the address of a viewer, rerun+http://HOST:9876/proxy."
            )
        classes = [
            (number, name, tuple(int(part) for part in color))
            for number, (name, color) in enumerate(zip(label_map.names, label_map.colors, strict=True))
        ]
        self._stream.log("/", rerun.AnnotationContext([*classes, (IGNORE, "unlabelled", (70, 72, 76))]), static=True)
        self._stream.log("/world", rerun.ViewCoordinates.FLU, static=True)
        self._way: list[np.ndarray] = []
        self._shown: set[str] = set()
        self._count = 0

    def __enter__(self) -> RerunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()
        self._stream.disconnect()

    def log(self, frame: Frame) -> None:
        """Log a scan at the next step of the time line; what only the scan before has, is cleared."""
        stream = self._stream
        stream.set_time("scan", sequence=self._count)
        self._count += 1
        if frame.pose is not None and frame.pose.time_s is not None:
            stream.set_time("time", duration=frame.pose.time_s)
        found = self._pose(frame) | self._values(frame)
        for place in sorted(self._shown.difference(found)):  # Rerun shows the last values until there are others
            stream.log(place, self._rerun.Clear(recursive=False))
        for place, value in found.items():
            stream.log(place, value)
        self._shown = found.keys() - {WAY}
        stream.log("/name", self._rerun.TextLog(frame.name))

    def _pose(self, frame: Frame) -> dict[str, Any]:
        """Place -> value: the pose of the sensor and its way so far; empty if the pose is not known."""
        if frame.pose is None:
            return {}
        rr, pose = self._rerun, frame.pose.matrix
        self._way.append(pose[:3, 3])
        found = {"/world/sensor": rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3])}
        if len(self._way) > 1:
            found[WAY] = rr.LineStrips3D([np.stack(self._way)], colors=[255, 255, 255])
        return found

    def _values(self, frame: Frame) -> dict[str, Any]:
        """Place -> value: points and images of the labels, the confidence and the range."""
        rr, image, returns = self._rerun, frame.image, ~frame.image.no_return
        xyz, found = image.given.xyz[returns], {}
        for name, ids in frame_labels(frame).items():
            found[f"/world/sensor/{name}"] = rr.Points3D(xyz, class_ids=ids[returns].astype(np.uint16))
            found[f"/image/{name}"] = rr.SegmentationImage(image.gather(ids, IGNORE).astype(np.uint8))
        if frame.confidence is not None:
            sure = frame.confidence.astype(np.float32)
            shade = np.repeat(np.rint(255 * sure[returns, None]).astype(np.uint8), 3, 1)
            found["/world/sensor/confidence"] = rr.Points3D(xyz, colors=shade)
            found["/image/confidence"] = rr.Image(np.rint(255 * image.gather(sure)).astype(np.uint8))
        return found | {"/image/range": rr.DepthImage(image.gather(image.range).astype(np.float32), meter=1.0)}


def frame_labels(frame: Frame) -> dict[str, np.ndarray]:
    """Name -> (N,) train ids: `label` and `prediction`, if they exist; without both, `points`, all IGNORE."""
    both = {"label": frame.image.scan.label, "prediction": frame.prediction}
    found = {name: ids for name, ids in both.items() if ids is not None}
    return found or {"points": np.full(len(frame.image.scan), IGNORE, np.uint8)}


def write_rerun(target: str, frames: Iterable[Frame], label_map: LabelMap) -> None:
    """Log scans, one after the other; see `RerunLog`."""
    with RerunLog(target, label_map) as log:
        for frame in frames:
            log.log(frame)
