"""The location of `configs/` and `datasets/`: next to `rangeseg/` in a checkout, `rangeseg/_data/` when installed."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource(*parts: str) -> Path:
    """A shipped file or folder.

    Args:
        parts: its path, e.g. ``"datasets", "semantic_kitti", "labels.yaml"``.

    Raises:
        ValueError: there is no shipped file or folder with this path.
    """
    shipped = PACKAGE / "_data"  # made by setup.py, in wheels only
    path = (shipped if shipped.is_dir() else PACKAGE.parent).joinpath(*parts)
    if path.exists():
        return path
    folder = next(parent for parent in path.parents if parent.is_dir())
    entries = ", ".join(sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))) or "nothing"
    raise ValueError(f"rangeseg ships no {'/'.join(parts)}. In {folder} there is: {entries}.")
