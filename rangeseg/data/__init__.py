"""Datasets: where scans and photographs come from, and how they become views."""

from __future__ import annotations

from rangeseg.data.semantic_kitti import SemanticKitti

DATASETS: dict[str, type[SemanticKitti]] = {"semantic_kitti": SemanticKitti}
"""Every dataset by its name in a config: ``(root, split, *, frames=None, ...)`` makes a `ScanSource`."""
