"""The scan that ships with the tests: every second return of one synthetic street, in steps of 2 mm.

`python tests/street.py` makes tests/data/street.npz anew (needs Open3D); the tests only read it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "street.npz"
STEP_M = 0.002
SEQUENCES = ("00", "01", "02", "04", "06", "07", "08", "09")
"""The sequences of the real samples; each gets the same scan."""


def make() -> None:
    """Write the file."""
    from rangeseg.data.synthetic import SyntheticStreets

    returns = SyntheticStreets(split="train", sequences=["00"], scans=1, seed=3).returns(0)
    rings = [np.flatnonzero(returns.ring == ring)[::2] for ring in np.unique(returns.ring)]  # from the topmost down
    kept = np.concatenate(rings)
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        FILE,
        xyz=np.round(returns.xyz[kept] / STEP_M).astype(np.int32),
        remission=np.round(returns.remission[kept] * 100).astype(np.uint8),
        raw=returns.raw[kept].astype(np.uint16),
    )


def unpack(root: Path) -> Path:
    """Write the scan in SemanticKITTI's layout, with labels; several sequences hold the same scan."""
    with np.load(FILE) as stored:
        xyz = stored["xyz"].astype(np.float32) * np.float32(STEP_M)
        points = np.concatenate([xyz, stored["remission"][:, None].astype(np.float32) / 100], axis=1)
        raw = stored["raw"].astype("<u4")
    for sequence in SEQUENCES:
        for folder, content, suffix in (("velodyne", points, "bin"), ("labels", raw, "label")):
            path = root / "sequences" / sequence / folder / f"000000.{suffix}"
            path.parent.mkdir(parents=True)
            content.tofile(path)
    return root


if __name__ == "__main__":
    make()
