"""Which scans or photographs are labelled: lists drawn once, by seed, nested in each other (1 % within 10 % of all).

The order in which scans are drawn is the order of SHA-256(seed, name). No generator's stream can change it between
versions or machines, and a scan's place does not depend on which others there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from rangeseg.components import lookup
from rangeseg.data import DATASETS
from rangeseg.files import write_atomically
from rangeseg.labels import LabelMap
from rangeseg.resources import resource

FRACTIONS = (0.01, 0.1, 0.2, 0.5)
"""The shares of labelled scans that semi-supervised LiDAR papers report."""

BLOCK_FRAMES = 50
"""Frames of one block: 5 s at 10 Hz. Longer blocks give 1 % (191 scans) fewer than four places, shorter ones have
near-duplicates in unlabelled neighbours."""

KINDS = {"frame": "uniform", "block": "blocks"}
"""What is drawn -> what the list is called."""


def draw_nested_lists(
    names: Sequence[str], fractions: Sequence[float] = FRACTIONS, seed: int = 0, by: str = "frame"
) -> dict[float, tuple[str, ...]]:
    """Draw the labelled scans of each fraction.

    Args:
        names: all scans, as ``SS/FFFFFF``, or all photographs.
        fractions: shares in (0, 1].
        seed: another seed draws other scans.
        by: ``frame`` draws scans one by one, uniformly over all sequences. ``block`` draws blocks of `BLOCK_FRAMES`
            successive frames of one sequence (k * BLOCK_FRAMES and following); the last is cut where the count is
            reached, so that both kinds give equal counts. Few unlabelled scans are then neighbours of labelled ones.
            Photographs are drawn one by one only.

    Returns:
        fraction -> round(fraction * len(names)) names, at least one, sorted. Smaller lists are within larger ones.

    Raises:
        ValueError: a fraction outside (0, 1], an unknown `by`, names that have no blocks, or no names.
    """
    if by not in KINDS:
        raise ValueError(f"Labelled lists are drawn by {' or '.join(KINDS)}, not by {by!r}.")
    if outside := [fraction for fraction in fractions if not 0 < fraction <= 1]:
        raise ValueError(f"Fractions {outside} are not in (0, 1]; 0.1 is 10 %.")
    if not names:
        raise ValueError("There are no scans to draw from; give their names.")
    key = _frame_key if by == "frame" else _block_key
    order = sorted(names, key=lambda name: (key(name, seed), name))
    return {fraction: tuple(sorted(order[: max(1, round(fraction * len(order)))])) for fraction in fractions}


def write_lists(
    out_dir: str | Path,
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    by: str = "frame",
    dataset: str = "semantic_kitti",
    root: str | Path | None = None,
) -> list[Path]:
    """Draw the lists of a training split and write each as ``train_<percent>pct_<uniform|blocks>.txt``.

    Args:
        out_dir: where to.
        fractions: see `draw_nested_lists`, like `seed` and `by`.
        seed: see there.
        by: see there.
        dataset: its name in a config.
        root: draw from what is there; default: from the complete dataset, for which no file is needed.

    Returns:
        The files, in the order of `fractions`.

    Raises:
        ValueError: as `draw_nested_lists` and the dataset.
    """
    label_map = LabelMap.read(resource("datasets", dataset, "labels.yaml"))
    if root is None:
        names = official_names(label_map, "train")
    else:
        source = lookup(DATASETS, dataset, "dataset")(root, "train", labels=False)
        names = tuple(source.name(index) for index in range(len(source)))
    kind = "photographs" if label_map.sensor is None else "scans"
    command = [
        "rangeseg split --out OUT",
        f"--by {by}",
        "--fractions",
        *(f"{f:g}" for f in fractions),
        f"--seed {seed}",
    ]
    command += [f"--dataset {dataset}"] + ([] if root is None else [f"--root {root}"])
    written = []
    for fraction, drawn in draw_nested_lists(names, fractions, seed, by).items():
        header = (
            f"# {label_map.dataset}: {len(drawn)} of {len(names)} training {kind}, labelled.\n# {' '.join(command)}\n"
        )
        path = Path(out_dir) / f"train_{100 * fraction:g}pct_{KINDS[by]}.txt"
        write_atomically(path, (header + "\n".join(drawn) + "\n").encode())
        written.append(path)
    return written


def official_names(label_map: LabelMap, split: str) -> tuple[str, ...]:
    """The name of every scan of a split of the complete dataset.

    Raises:
        ValueError: the dataset does not say how many there are.
    """
    if not label_map.scan_counts:
        raise ValueError(f"{label_map.dataset} has no scan_counts to know its names by; give the dataset's root.")
    return tuple(
        f"{sequence}/{frame:06d}"
        for sequence in label_map.splits[split]
        for frame in range(label_map.scan_counts[sequence])
    )


def _frame_key(name: str, seed: int) -> bytes:
    return sha256(f"{seed}:{name}".encode()).digest()


def _block_key(name: str, seed: int) -> bytes:
    sequence, _, frame = name.rpartition("/")
    if not (sequence and frame.isdecimal()):
        raise ValueError(f"{name} is no scan of a sequence; draw by frame.")
    return sha256(f"{seed}:{sequence}:{int(frame) // BLOCK_FRAMES}".encode()).digest()
