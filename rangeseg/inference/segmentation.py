"""`Segmentation`, the result of a segmenter: the label of each point or pixel, and its confidence.

Shapes: N elements (points, or a photograph's pixels row by row), K classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rangeseg.kernels.confidence import sum_up_classes, take_confidence
from rangeseg.labels import LabelMap
from rangeseg.photos.io import write_label_image
from rangeseg.photos.padded_image import PaddedImage
from rangeseg.projection.range_image import RangeImage
from rangeseg.scan_formats.labelled import LABELLED, labelled_columns, write_columns
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE, Photo, Scan

UNLABELLED = "unlabelled"
"""The name of IGNORE."""

FEWEST_NAMED = 0.005
"""Classes with a smaller share are left out of the `repr`."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(NDArrayOperatorsMixin):
    """Labels of the points of a scan or of the pixels of a photograph. It behaves like the array of its labels.

    ``segmentation == 8``, ``segmentation[mask]``, ``np.bincount(segmentation)`` and ``segmentation.reshape(H, W)``
    return the same as for the array `labels`.

    Args:
        labels: (N,) uint8 train ids, IGNORE for no returns.
        sample: the labelled scan or photograph.
        label_map: the classes.
        confidence: (N,) float32 in [0, 1], probability of the element's label at its pixel; 0 for no returns. None if
            it was not requested.
        entropy: (N,) float32 entropy of the class probabilities at the element's pixel, nats; 0 for no returns. None
            if it was not requested.
    """

    labels: NDArray[np.uint8]
    sample: Scan | Photo
    label_map: LabelMap
    confidence: NDArray[np.float32] | None = None
    entropy: NDArray[np.float32] | None = None

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(N,) name of the class of each element."""
        return np.array([*self.label_map.names, UNLABELLED])[self._places]

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """(N, 3) RGB, black for IGNORE."""
        return np.concatenate([self.label_map.colors, np.zeros((1, 3), np.uint8)])[self._places]

    @property
    def shares(self) -> dict[str, float]:
        """Class name -> its share of all elements, largest first, without absent classes."""
        counts = np.bincount(self._places, minlength=self.label_map.num_classes + 1)
        names = (*self.label_map.names, UNLABELLED)
        return {names[k]: float(counts[k] / len(self)) for k in np.argsort(-counts, kind="stable") if counts[k]}

    @property
    def raw(self) -> NDArray[np.uint32]:
        """(N,) raw ids of the dataset."""
        return self.label_map.to_raw(self.labels)

    @property
    def _places(self) -> NDArray[np.intp]:
        return np.where(self.labels == IGNORE, self.label_map.num_classes, self.labels).astype(np.intp)

    def sure(self, least: ArrayLike) -> Segmentation:
        """The segmentation with IGNORE for labels of low confidence; confidence and entropy do not change.

        Args:
            least: minimum confidence of a label, or (K,) one per class.

        Raises:
            ValueError: there is no confidence, or `least` has another number of classes.
        """
        if self.confidence is None:
            raise ValueError("These labels have no confidence. Compute it with segmenter(scan, confidence=True).")
        wanted, classes = np.asarray(least, np.float32), self.label_map.num_classes
        if wanted.shape not in ((), (1,), (classes,)):
            raise ValueError(
                f"Got least confidences of shape {wanted.shape}; give one, or one for each of {classes} classes."
            )
        wanted = np.broadcast_to(wanted, classes)
        known = self.labels != IGNORE
        known[known] = self.confidence[known] >= wanted[self.labels[known]]
        return replace(self, labels=np.where(known, self.labels, np.uint8(IGNORE)))

    def save(self, path: str | Path) -> None:
        """Write one file, atomically.

        Args:
            path: for a scan, ``.label`` (raw ids), or ``.pcd``, ``.ply``, ``.las``, ``.npz``: the points with their
                fields, `label` (raw id) and, if known, `confidence` and `entropy`. For a photograph, ``.png``.

        Raises:
            ValueError: the path has another suffix.
        """
        path = Path(path)
        if isinstance(self.sample, Photo):
            if path.suffix != ".png":
                raise ValueError(f"{path}: the labels of a photograph end in .png, not in {path.suffix!r}.")
            write_label_image(path, self.raw.reshape(self.sample.image.shape[:2]), None)
        elif path.suffix == ".label":
            write_labels(path, self.raw)
        elif path.suffix in LABELLED:
            write_columns(path, labelled_columns(self.sample, self.raw, self.confidence, self.entropy), self.labels)
        else:
            endings = ", ".join((".label", *LABELLED))
            raise ValueError(f"{path}: the labels of a scan end in {endings}, not in {path.suffix!r}.")

    def __repr__(self) -> str:
        elements = "points" if isinstance(self.sample, Scan) else "pixels"
        shares = [f"{name} {share:.1%}" for name, share in self.shares.items() if share >= FEWEST_NAMED]
        sure = (
            "" if self.confidence is None else f"; mean confidence {self.confidence[self.labels != IGNORE].mean():.2f}"
        )
        return f"<Segmentation of {len(self)} {elements}, {self.label_map.dataset}: {', '.join(shares)}{sure}>"

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.labels)

    def __getitem__(self, key: Any) -> Any:
        return self.labels[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.labels, dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [one.labels if isinstance(one, Segmentation) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __getattr__(self, name: str) -> Any:
        """Attributes of the array of labels: shape, dtype, reshape, astype, ..."""
        if name.startswith("__") and name != "__array_interface__":
            raise AttributeError(name)
        return getattr(self.labels, name)


class Softmax:
    """Labels, confidence and entropy from the class probabilities of each pixel.

    Args:
        logits: (K, H, W).
        temperature: divisor of the logits, see `rangeseg.evaluation.reliability.fit_temperature`.
        entropy: also compute the entropy.
    """

    def __init__(self, logits: Tensor, temperature: float = 1.0, *, entropy: bool = True) -> None:
        planes = logits.detach().float().cpu().numpy()
        count, height, width = planes.shape
        self._logits = planes.reshape(count, -1)
        if planes.strides[0] == planes.itemsize:  # channels_last: without a copy
            self._logits = planes.transpose(1, 2, 0).reshape(-1, count).T
        self._inverse, self._shape, pixels = 1 / temperature, (height, width), height * width
        most, total = np.empty((2, pixels), np.float32)
        nats = np.empty(pixels if entropy else 0, np.float32)
        self._sums = np.empty(pixels, np.uint8), most, total, nats
        sum_up_classes(self._logits, self._inverse, *self._sums)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) the most probable class of each pixel, the first one on ties."""
        return self._sums[0].reshape(self._shape)

    def of_elements(
        self, image: RangeImage | PaddedImage, labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Confidence and entropy of each element, from the class probabilities at its pixel.

        If a vote of neighbours changed a label, its confidence is the low probability of the new label at the pixel.

        Args:
            image: the elements and their pixels.
            labels: (N,) train ids, IGNORE for no returns.

        Returns:
            (N,) probability of the label and (N,) entropy in nats, float32; both 0 if the label is IGNORE. The entropy
            is None if it was not requested.
        """
        place = image.back_project(np.arange(len(self._sums[0]), dtype=np.int32).reshape(self._shape))
        confidence = np.empty(len(labels), np.float32)
        nats = np.empty(len(labels) if len(self._sums[3]) else 0, np.float32)
        take_confidence(labels, place, self._logits, self._inverse, self._sums, confidence, nats)
        return confidence, nats if len(self._sums[3]) else None
