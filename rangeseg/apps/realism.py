"""Compares synthetic streets with real scans: counts and a picture of both.

Shapes: N points, H rows (beams), W columns (azimuth), K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.data.dataset import ScanSource
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.projection.range_image import RangeImage
from rangeseg.projection.unfolding import ScanUnfolding
from rangeseg.synthetic.beams import read_beams
from rangeseg.synthetic.kinds import KINDS
from rangeseg.synthetic.mesh import box, dress
from rangeseg.synthetic.raycast import Lidar, World
from rangeseg.synthetic.street import build_street
from rangeseg.types import IGNORE, Scan
from rangeseg.vis.birds_eye import birds_eye, range_rings
from rangeseg.vis.panels import Picture, caption, colorise, enlarge, legend, present, range_panel

RANGES_M = (0, 5, 10, 15, 20, 30, 40, 50, 80)
"""Edges of the distance bins, metres."""

SECTORS = 24
"""Number of equal sectors of a turn in which filled pixels are counted."""

QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of the remission of each class."""

SHOWN = 8
"""Index of the street that is drawn; it has houses, hedges and side streets."""

HEAD = """# Synthetic streets and real scans

This page compares streets of `rangeseg.synthetic`, ray-cast with the beams of `datasets/sensors/hdl64e.yaml`, one scan
per street, with all available scans of SemanticKITTI. The real scans are few and lie close together. For classes, the
column *all*, the published shares of the whole training split, is therefore the better reference. Pixels are those of
scan unfolding, 64 x 2040. The picture is `docs/pictures/synthetic.png`.

```bash
rangeseg synthesise --out OUT --compare-with DATA/semantickitti
```

Two differences are intended: people and two-wheelers are more frequent, so that a network can learn them, and labels do
not end at 50 m. Other differences are simplifications: there are no squares, turns at junctions, water, bridges and
rails, signs have no printing, and all beams start from one vertical line.

## Time

The times are processor times of one thread. A street is built once and serves many scans.
"""


@dataclass(frozen=True)
class Counts:
    """Statistics averaged over many scans.

    Args:
        scans: number of scans.
        points: points per scan.
        shares: (K,) share of each class among the labelled points.
        seen: (K,) share of the scans that show the class.
        by_range: (len(RANGES_M) - 1,) share of the points at each distance.
        filled: (H,) share of each row's pixels that show a point.
        by_sector: (SECTORS,) the same for sectors of columns, from straight ahead to the left.
        remission: (K, len(QUANTILES)) quantiles of the remission of each class, nan for classes without points.
    """

    scans: int
    points: float
    shares: NDArray[np.float64]
    seen: NDArray[np.float64]
    by_range: NDArray[np.float64]
    filled: NDArray[np.float64]
    by_sector: NDArray[np.float64]
    remission: NDArray[np.float64]


def count(scans: Iterable[Scan], classes: int, projection: ScanUnfolding) -> Counts:
    """Count labelled scans.

    Args:
        scans: scans with labels.
        classes: K.
        projection: projection whose pixels are counted.

    Raises:
        ValueError: there are no scans, or one has no labels.
    """
    labels, remissions, ranges, valid, seen = [], [], [], [], []
    for scan in scans:
        if scan.label is None:
            raise ValueError("Cannot count a scan without labels; open the dataset with labels.")
        labels.append(scan.label)
        remissions.append(scan.remission)
        ranges.append(np.linalg.norm(scan.xyz, axis=1))
        valid.append(projection(scan).valid)
        seen.append(np.bincount(scan.label, minlength=IGNORE + 1)[:classes] > 0)
    if not labels:
        raise ValueError("No scans to count; give at least one.")
    label, remission, metres = (np.concatenate(values) for values in (labels, remissions, ranges))
    known = np.bincount(label, minlength=IGNORE + 1)[:classes]
    shares = np.histogram(metres, RANGES_M)[0] / len(metres)
    filled = np.mean(valid, axis=0)
    by_sector = np.roll(filled[:, ::-1], filled.shape[1] // 2, axis=1).mean(0).reshape(SECTORS, -1).mean(1)
    spread = [np.quantile(remission[label == k], QUANTILES) if known[k] else [np.nan] * 3 for k in range(classes)]
    return Counts(
        len(labels), len(label) / len(labels), known / known.sum(), np.mean(seen, 0), shares, filled.mean(1), by_sector,
        np.array(spread),
    )  # fmt: skip


def table(real: Counts, made: Counts, label_map: LabelMap) -> str:
    """Markdown tables of both.

    Args:
        real: counts of real scans.
        made: counts of synthetic scans.
        label_map: the classes.
    """
    lines = [
        f"{real.scans} real scans of {real.points:,.0f} points, {made.scans} synthetic ones of {made.points:,.0f}.",
        "",
    ]
    lines += [
        "## Classes",
        "",
        "Shares in per cent of labelled points; *all* is the whole training split; remission as 10 %, 50 %, 90 %.",
        "",
    ]
    lines += [
        "| class | all | real | synthetic | in real scans | in synthetic | remission, real | synthetic |",
        "| --- " * 8 + "|",
    ]
    for k, name in enumerate(label_map.names):
        whole = "" if label_map.frequencies is None else f"{100 * label_map.frequencies[k]:.2f}"
        shares = f"{100 * real.shares[k]:.2f} | {100 * made.shares[k]:.2f} | {real.seen[k]:.0%} | {made.seen[k]:.0%}"
        lines.append(f"| {name} | {whole} | {shares} | {_three(real.remission[k])} | {_three(made.remission[k])} |")
    bands = [f"{a}-{b} m" for a, b in pairwise(RANGES_M)]
    rows = [f"{first}-{first + 7}" for first in range(0, len(real.filled), 8)]
    sectors = [f"{360 * k // SECTORS}" for k in range(SECTORS)]
    by_row = [counts.filled.reshape(-1, 8).mean(1) for counts in (real, made)]
    lines += _compare("Ranges, per cent of points", bands, real.by_range, made.by_range)
    lines += _compare("Filled pixels by row, per cent", rows, *by_row)
    lines += _compare(
        "Filled pixels by azimuth (degrees to the left of straight ahead), per cent",
        sectors,
        real.by_sector,
        made.by_sector,
    )
    return "\n".join(lines) + "\n"


def _compare(title: str, heads: list[str], real: NDArray[np.float64], made: NDArray[np.float64]) -> list[str]:
    rows = [
        f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |"
        for name, values in (("real", real), ("synthetic", made))
    ]
    return ["", f"## {title}", "", "| | " + " | ".join(heads) + " |", "| --- " * (len(heads) + 1) + "|", *rows]


def _three(values: NDArray[np.float64]) -> str:
    return "" if np.isnan(values).any() else ", ".join(f"{value:.2f}" for value in values)


def picture(scans: dict[str, Scan], label_map: LabelMap, projection: ScanUnfolding) -> Picture:
    """Range, remission and labels of scans, one below the other, and bird's-eye views side by side.

    Args:
        scans: name in the picture -> scan with labels.
        label_map: the classes.
        projection: projection of the images.
    """
    strips, above = [], []
    for name, scan in scans.items():
        image = projection(scan)
        label = np.asarray(image.gather(np.asarray(scan.label), IGNORE))
        strips.append(range_panel(image.gather(image.range), 3 * image.valid.shape[0], image.valid.shape[1]))
        for text, drawn in ((f"{name}: remission", _grey(image)), (f"{name}: label", colorise(label, label_map))):
            strips.append(caption(enlarge(drawn, 3 * len(drawn), drawn.shape[1]), text))
        side = image.valid.shape[1] // len(scans)
        seen = birds_eye(scan.xyz, np.asarray(scan.label), label_map, pixels=side)
        above.append(caption(range_rings(seen), f"{name}, from above"))
    columns = strips[0].shape[1]
    shown = present(*(np.asarray(scan.label) for scan in scans.values()))
    return np.concatenate([*strips, np.concatenate(above, axis=1), legend(label_map, shown, columns)])


def _grey(image: RangeImage) -> Picture:
    remission = np.asarray(image.gather(image.scan.remission, 0))
    grey = (255 * np.clip(remission * 1.4 + 0.08 * image.valid, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def time_streets() -> list[str]:
    """Milliseconds to build and scan a street, as Markdown rows: medians over seeds; of each street the fastest scan.

    There are three streets of each kind, each with five scans of the HDL-64E.
    """
    lidar = Lidar(read_beams("hdl64e"))
    World(dress(box(1, 1, 1), 40, "wall", 0.3))  # not timed: the first one loads Open3D
    lines = ["| street | triangles | street built, ms | tree for rays, ms | scan, ms |", "| --- " * 5 + "|"]
    for kind in KINDS:
        rows = []
        for seed in range(3):
            start = process_time()
            street = build_street(seed, kind=kind)
            built = process_time()
            world, marks = World(street.mesh), [process_time()]
            for number in range(5):
                rng, moving = np.random.default_rng(number), street.moving(4.0 * number)
                poses = street.poses(4.0 * number, lidar.beams.firings, rng)
                lidar.scan(world, poses, rng, None if moving is None else World(moving))
                marks.append(process_time())
            rows.append((len(street.mesh), 1e3 * (built - start), 1e3 * (marks[0] - built), 1e3 * np.diff(marks).min()))
        lines.append(f"| {kind} | " + " | ".join(f"{value:,.0f}" for value in np.median(rows, axis=0)) + " |")
    return lines


def compare(data: str | Path, out: str | Path, *, scans: int = 60, seed: int = 0) -> list[Path]:
    """Write `synthetic.md` and `synthetic.png`, which compare HDL-64E streets with SemanticKITTI's scans.

    Args:
        data: the folder that holds SemanticKITTI's `sequences/`; all its scans of train and val are counted.
        out: folder for both files.
        scans: number of synthetic scans, each of another street.
        seed: seed of the streets.

    Returns:
        Both files.
    """
    real: list[ScanSource] = [SemanticKitti(data, split) for split in ("train", "val")]
    streets = SyntheticStreets(sequences=["00"], scans=scans, scans_per_street=1, streets_kept=1, seed=seed)
    label_map, projection = streets.label_map, ScanUnfolding(64, 2048 // SECTORS * SECTORS)
    counted = count((part.scan(i) for part in real for i in range(len(part))), label_map.num_classes, projection)
    made = count((streets.scan(i) for i in range(len(streets))), label_map.num_classes, projection)
    text = "\n".join([HEAD, *time_streets(), "", table(counted, made, label_map)])
    chosen = {"real": real[0].scan(0), "synthetic": streets.scan(min(SHOWN, scans - 1))}
    drawn = Image.fromarray(picture(chosen, label_map, ScanUnfolding(64, 2048)))
    files = [Path(out) / name for name in ("synthetic.md", "synthetic.png")]
    write_atomically(files[0], text.encode())
    write_atomically(files[1], lambda file: drawn.save(file, "PNG", optimize=True))
    return files
