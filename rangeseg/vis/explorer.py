"""The state of a scan viewer and its reaction to keys, without a window.

Shapes: N points, H rows (beams), W columns (azimuth), K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangeseg.labels import LabelMap
from rangeseg.projection.range_image import RangeImage
from rangeseg.types import IGNORE, SensorPose
from rangeseg.vis.panels import Picture, colorise, error_picture, range_picture

COLORINGS = ("label", "prediction", "error", "confidence", "range", "remission")
"""What the colours of points can show, in the order of the keys 1, 2, ..."""


@dataclass(frozen=True)
class Frame:
    """One scan with its labels and predictions.

    Args:
        name: name of the scan.
        image: the projected scan, with its labels if it has any.
        prediction: (N,) train ids or IGNORE; None if there is no prediction.
        confidence: (N,) probability of the predicted class in [0, 1]; None if it is not known.
        pose: pose of the sensor; None if it is not known.
    """

    name: str
    image: RangeImage
    prediction: NDArray[np.integer] | None = None
    confidence: NDArray[np.floating] | None = None
    pose: SensorPose | None = None

    def has(self, coloring: str) -> bool:
        """Whether the scan has the data for a colouring, one of `COLORINGS`."""
        known = {
            "label": self.image.scan.label is not None,
            "prediction": self.prediction is not None,
            "confidence": self.confidence is not None,
        }
        known["error"] = known["label"] and known["prediction"]
        return known.get(coloring, True)


class Explorer:
    """A sequence of scans, one of which is shown while the next one is loaded.

    Args:
        load: index -> frame; called in another thread.
        count: how many frames there are, at least 1.
        label_map: the classes.

    Raises:
        ValueError: nothing to show.
    """

    def __init__(self, load: Callable[[int], Frame], count: int, label_map: LabelMap) -> None:
        if count < 1:
            raise ValueError("No scan to show. Give at least one.")
        self.count, self.label_map = count, label_map
        self.index = 0
        self.hidden: set[int] = set()
        self.playing = False
        self._pool = ThreadPoolExecutor(1)
        self._load = load
        self._coming: dict[int, Future[Frame]] = {}
        self.frame = self._take(0)
        self.coloring = next(name for name in ("prediction", "label", "range") if self.frame.has(name))
        self.beside: str | None = "label" if self.frame.has("error") else None

    def step(self, by: int) -> None:
        """Go on by this number of scans; after the last comes the first."""
        self.index = (self.index + by) % self.count
        self.frame = self._take(self.index)

    def color_by(self, coloring: str) -> bool:
        """Change the colouring; returns False and changes nothing if this scan does not support it."""
        if coloring not in COLORINGS or not self.frame.has(coloring):
            return False
        self.coloring = coloring
        return True

    def frames(self, most: int) -> Iterator[Frame]:
        """The current scan and those after it; each at most once."""
        for number in range(min(self.count, most)):
            if number:
                self.step(1)
            yield self.frame

    def toggle_beside(self) -> None:
        """Show or hide the second view with the label."""
        self.beside = "label" if self.beside is None and self.frame.has("label") else None

    def toggle_class(self, train_id: int) -> None:
        """Hide the points of a class, or show them again."""
        self.hidden ^= {train_id}

    def colors(self, coloring: str) -> Picture:
        """(N, 3) colours of the points; grey if the scan has no data for this colouring."""
        frame, scan = self.frame, self.frame.image.scan
        if not frame.has(coloring):
            return np.full((len(scan), 3), 110, np.uint8)
        if coloring == "error":
            assert frame.prediction is not None
            assert scan.label is not None
            return error_picture(frame.prediction, scan.label)
        if coloring in ("label", "prediction"):
            ids = scan.label if coloring == "label" else frame.prediction
            assert ids is not None
            return colorise(ids, self.label_map)
        if coloring == "range":
            return range_picture(frame.image.range)
        share = frame.confidence if coloring == "confidence" else scan.remission
        assert share is not None
        return range_picture(
            3 * 20.0 ** (1 - np.clip(share, 0, 1))
        )  # the range's colour map, from violet (0) to yellow (1)

    def visible(self, coloring: str) -> NDArray[np.bool_]:
        """(N,) the returns of classes that are not hidden: by the label where that is shown, else by the prediction."""
        scan = self.frame.image.scan
        ids = scan.label if coloring == "label" or self.frame.prediction is None else self.frame.prediction
        shown = ~self.frame.image.no_return
        return shown if ids is None or not self.hidden else shown & ~np.isin(ids, list(self.hidden))

    def strip(self, coloring: str) -> Picture:
        """(H, W, 3) the range image in the points' colours, black where it is empty."""
        image = self.frame.image
        return np.where(image.valid[..., None], self.colors(coloring)[image.point_index], 0).astype(np.uint8)

    def describe(self, point: int) -> str:
        """A text with all values of a point."""
        frame, scan = self.frame, self.frame.image.scan
        lines = [f"point {point}", f"range {frame.image.range[point]:.2f} m, remission {scan.remission[point]:.2f}"]
        lines.append(f"pixel row {frame.image.row[point]}, column {frame.image.col[point]}")
        for name, ids in (("label", scan.label), ("prediction", frame.prediction)):
            if ids is not None:
                lines.append(f"{name}: {'none' if ids[point] == IGNORE else self.label_map.names[ids[point]]}")
        if frame.confidence is not None:
            lines.append(f"probability {frame.confidence[point]:.2f}")
        return "\n".join(lines)

    def pick(
        self, coloring: str, view: NDArray[np.floating], projection: NDArray[np.floating], at: tuple[float, float]
    ) -> int | None:
        """The point under the mouse: of those within a hundredth of the picture, the one nearest to the eye.

        Args:
            coloring: of the picture, which decides what is hidden.
            view: (4, 4) world -> eye.
            projection: (4, 4) eye -> clip space.
            at: place in the picture, x to the right and y upwards, each in [-1, 1].

        Returns:
            Its index, or None.
        """
        chosen = np.flatnonzero(self.visible(coloring))
        xyz = self.frame.image.given.xyz[chosen].astype(np.float64)
        clip = np.c_[xyz, np.ones(len(xyz))] @ (np.asarray(projection) @ np.asarray(view)).T
        depth = clip[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            near = np.hypot(clip[:, 0] / depth - at[0], clip[:, 1] / depth - at[1]) < 0.02
        near &= depth > 0
        return int(chosen[near][depth[near].argmin()]) if near.any() else None

    def close(self) -> None:
        """End the loading thread."""
        self._pool.shutdown(cancel_futures=True)

    def _take(self, index: int) -> Frame:
        coming = self._coming.pop(index, None) or self._pool.submit(self._load, index)
        after = (index + 1) % self.count
        self._coming = (
            {} if after == index else {after: self._coming.get(after) or self._pool.submit(self._load, after)}
        )
        return coming.result()
