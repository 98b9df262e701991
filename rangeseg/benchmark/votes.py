"""Gain and cost of votes along a drive: `python -m` this module, SemanticKITTI's folder, a run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rangeseg.benchmark.propagate import SEQUENCES
from rangeseg.drive.layouts import open_drive
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.inference.carried import CarriedFolder
from rangeseg.inference.drive import label_drive
from rangeseg.inference.segmenter import Segmenter


def measure(
    root: Path,
    run: Path | None,
    sequences: tuple[str, ...],
    votes: int,
    max_distance_m: float,
    carried: Path | None = None,
) -> dict[str, Any]:
    """Mean IoU and accuracy of all points of some sequences, in [0, 1], and processor time per scan, seconds.

    Args:
        root: folder that contains `sequences/`.
        run: a run; None for the shipped network.
        sequences: names of the sequences.
        votes: number of scans before, and of scans after, that vote.
        max_distance_m: largest distance of points of other scans that vote, metres.
        carried: folder of `rangeseg propagate` whose labels replace predictions; None for predictions only.
    """
    segmenter = Segmenter.load(run, device="cpu")
    label_map = segmenter.label_map
    confusion, scans, used = ConfusionMatrix(label_map.num_classes), 0, time.process_time()
    for sequence in sequences:
        drive = open_drive(root / "sequences" / sequence)
        poses = drive.own_poses()
        known = None if carried is None else CarriedFolder.open(carried, drive, label_map)
        for number, _, found in label_drive(segmenter, drive, poses, votes=votes, max_distance_m=max_distance_m):
            raw = drive.labels_of(drive.scans[number])
            if raw is not None:
                found = found if known is None else known.replaced(number, found)
                confusion.update(found.labels, label_map.to_train(raw & 0xFFFF))
                scans += 1
    spent = (time.process_time() - used) / max(1, scans)
    return {"mean_iou": confusion.mean_iou(), "accuracy": confusion.accuracy(), "cpu_s_a_scan": spent, "scans": scans}


def main() -> None:
    """Measure, and write JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds sequences/")
    parser.add_argument("run", type=Path, nargs="?", help="a run; default: the shipped any-lidar")
    parser.add_argument("--votes", type=int, nargs="+", default=[0, 1, 2, 4], help="scans before and behind")
    parser.add_argument(
        "--max-distance-m", type=float, default=0.3, help="largest distance of points of other scans that vote, metres"
    )
    parser.add_argument(
        "--carried", type=Path, help="labels of rangeseg propagate for the seven sequences, which replace predictions"
    )
    arguments = parser.parse_args()
    scored = {"the 35 of seven sequences": SEQUENCES} | ({} if arguments.carried else {"08": ("08",)})
    found = {}
    for votes in arguments.votes:
        for name, sequences in scored.items():
            found[f"{votes} votes, {name}"] = measure(
                arguments.root, arguments.run, sequences, votes, arguments.max_distance_m, arguments.carried
            )
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
