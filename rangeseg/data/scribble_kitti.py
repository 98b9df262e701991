"""ScribbleKITTI: SemanticKITTI's scans, of the training split with labels of single strokes alone.

root/sequences/SS/scribbles/FFFFFF.label     or sequences/scribbles/SS/FFFFFF.label, as some unpack it

Everything else lies as SemanticKITTI does; validation is against its dense labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rangeseg.data.semantic_kitti import SemanticKitti


class ScribbleKitti(SemanticKitti):
    """The scans of one split; arguments, classes and lists are `SemanticKitti`'s.

    Source:
        Unal, Dai, Van Gool, Scribble-Supervised LiDAR Semantic Segmentation, CVPR 2022.
    """

    labels_in: ClassVar[str] = "scribbles.zip (of the training split), data_odometry_labels.zip (of the others)"

    def label_path(self, index: int) -> Path:
        """Where the labels of scan `index` belong: scribbles in the training split."""
        if self._split != "train":
            return super().label_path(index)
        sequence, frame = self._names[index].split("/")
        apart = self._folder / "scribbles" / sequence / f"{frame}.label"
        return apart if apart.is_file() else self._folder / sequence / "scribbles" / f"{frame}.label"
