"""ScribbleKITTI: SemanticKITTI's scans, with scribble labels in the training split.

root/sequences/SS/scribbles/FFFFFF.label     or sequences/scribbles/SS/FFFFFF.label, depending on the unpacking

All other files have SemanticKITTI's layout. Validation uses the dense labels of SemanticKITTI.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rangeseg.data.semantic_kitti import SemanticKitti


class ScribbleKitti(SemanticKitti):
    """The scans of one split; arguments, classes and lists are those of `SemanticKitti`.

    Source:
        Unal, Dai, Van Gool, Scribble-Supervised LiDAR Semantic Segmentation, CVPR 2022.
    """

    labels_in: ClassVar[str] = "scribbles.zip (of the training split), data_odometry_labels.zip (of the others)"

    def label_file(self, folder: Path, split: str, sequence: str, frame: str) -> Path | None:
        """The path of the labels of a scan: scribbles in the training split."""
        if split != "train":
            return super().label_file(folder, split, sequence, frame)
        apart = folder / "scribbles" / sequence / f"{frame}.label"
        return apart if apart.is_file() else folder / sequence / "scribbles" / f"{frame}.label"
