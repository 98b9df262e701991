"""Datasets: where scans and photographs come from, and how they become views."""

from __future__ import annotations

from collections.abc import Callable

from rangeseg.data.camvid import CamVid
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.source import Source

DATASETS: dict[str, Callable[..., Source]] = {"semantic_kitti": SemanticKitti, "camvid": CamVid}
"""Every dataset by its name in a config: ``(root, split, *, frames=None, labels=True)`` makes a `ScanSource` or a
`PhotoSource`. A class that has `photo` is of photographs, one that has `scan` is of LiDAR."""
