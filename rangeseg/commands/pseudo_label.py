"""`rangeseg pseudo-label`: labels of unlabelled scans, for another round of training."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, add_unsure, progress

EXAMPLES = (
    "rangeseg pseudo-label runs/first --leave-out labelled.txt --out runs/pseudo",
    "rangeseg pseudo-label runs/first --unsure 0.9,person=0.6,bicyclist=0.6 --out runs/pseudo",
)


def run(arguments: argparse.Namespace) -> None:
    """Write pseudo-labels in SemanticKITTI's layout: the most confident share of each class at each distance."""
    from rangeseg.data.semantic_kitti import SemanticKitti
    from rangeseg.inference.labelled_files import least_sure
    from rangeseg.inference.pseudo_labels import Balance, Votes, pseudo_label, true_labels
    from rangeseg.inference.segmenter import Segmenter

    if arguments.votes < 0:
        raise ValueError(f"--votes is {arguments.votes}. Give the number of scans before and after each scan, or 0.")
    if arguments.poses and not arguments.votes:
        raise ValueError("--poses has no effect without --votes N, the number of scans before and after each scan.")
    votes = Votes(arguments.votes, arguments.poses) if arguments.votes else None
    keep = arguments.keep if arguments.keep is not None else 1.0 if arguments.unsure else Balance.keep
    balance = Balance(keep, arguments.annuli, arguments.width_m)
    segmenter = Segmenter.load(
        arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust
    )
    least = least_sure(arguments.unsure, segmenter.label_map)
    source = segmenter.run.experiment.open(arguments.split, arguments.subset, labels=False)
    if not isinstance(source, SemanticKitti):
        raise ValueError("Pseudo-labels need SemanticKITTI's layout, but data.dataset has another one.")
    left_out = true_labels(segmenter.run.experiment, arguments.split, arguments.leave_out)
    shares = pseudo_label(
        segmenter, source, arguments.out, balance, workers=segmenter.workers, progress=progress,
        least=0.0 if least is None else least,
        leave_out=left_out, votes=votes,
    )  # fmt: skip
    OUT.print(", ".join(f"{name} {100 * share:.2f}" for name, share in shares.items()), soft_wrap=True)
    labelled = f"{100 * sum(shares.values()):.1f} % of the points are labelled below {arguments.out}"
    OUT.print(f"{labelled}; the scans are listed in {arguments.out / 'scans.txt'}.", soft_wrap=True)
    if left_out and arguments.leave_out is None:
        scans = f"{len(left_out)} scans of data.labelled={segmenter.run.config.data.labelled}"
        OUT.print(f"No pseudo-labels for the {scans}; --leave-out none includes them.", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--split", default="train", help="train, val or test")
    parser.add_argument("--subset", help="use only this list of the split: a file, or the name of a shipped list")
    parser.add_argument(
        "--leave-out", help="list file of scans that get no pseudo-labels, or none; default: the run's data.labelled"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder for the labels")
    parser.add_argument(
        "--keep", type=float, help="share of the points of each class in each annulus; default: 0.5, with --unsure 1"
    )
    add_unsure(parser)
    parser.add_argument("--annuli", type=int, default=10, help="number of annuli around the sensor")
    parser.add_argument("--width-m", type=float, default=5.0, help="width of an annulus in metres")
    parser.add_argument(
        "--votes", type=int, default=0, help="average the probabilities with this number of scans before and after"
    )
    parser.add_argument(
        "--poses",
        type=Path,
        help="folder written by `rangeseg poses`, or for several sequences a folder with one such folder per sequence, "
        "named SS",
    )
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)
