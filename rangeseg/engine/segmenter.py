"""A trained run as one function: from a scan to the labels of its points, from a photograph to those of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangeseg.engine.experiment import make_back_projection, make_projection, seen_through, stride_of
from rangeseg.engine.run import Run
from rangeseg.labels import LabelMap
from rangeseg.projection import PaddedImage, RangeImage
from rangeseg.types import Photo, Scan

Thing = Scan | Photo
Drawn = RangeImage | PaddedImage


class Segmenter:
    """Labels every point of a scan, or every pixel of a photograph, with a trained teacher.

    Args:
        run: a loaded run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._projection: Any = make_projection(run.config, stride_of(run.network))
        self._back_projection = make_back_projection(run.config)
        self._network = seen_through(run.config, run.network)

    @staticmethod
    def load(path: str | Path | None = None, *, device: str = "auto", overrides: Sequence[str] = ()) -> Segmenter:
        """Load a run folder or a checkpoint.

        Args:
            path: folder (its last checkpoint) or file; None: the network that ships with rangeseg, for a first answer.
            device: a torch device, or auto.
            overrides: `key.path=value` above the run's config.

        Raises:
            ValueError: no whole checkpoint there.
        """
        return Segmenter(Run.load(path, device=device, overrides=overrides))

    @property
    def label_map(self) -> LabelMap:
        """The classes the labels stand for."""
        return self.run.label_map

    def project(self, thing: Thing) -> Drawn:
        """What the network reads: a scan's range image, or a photograph's padded one."""
        image: Drawn = self._projection(thing)
        return image

    def logits(self, image: Drawn) -> Tensor:
        """(K, H, W) of a range image or padded image, on the run's device."""
        data = self.run.config.data
        view = image.view(tuple(data.channels), tuple(data.mean), tuple(data.std))
        with torch.inference_mode():
            return self._network(view.image[None].to(self.run.device))[0]

    def label(self, image: Drawn, logits: Tensor) -> NDArray[np.uint8]:
        """(K, H, W) -> (N,) train ids of the elements."""
        pixels = logits.argmax(0).to(torch.uint8).cpu().numpy()
        return self._back_projection(image, pixels, self.label_map.num_classes)

    def __call__(self, thing: Thing) -> NDArray[np.uint8]:
        """(N,) train ids of points, IGNORE for those that are no return; or of a photograph's pixels, row by row."""
        image = self.project(thing)
        return self.label(image, self.logits(image))
