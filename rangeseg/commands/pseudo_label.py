"""Labels of unlabelled scans, for another round of training."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_unsure, progress

EXAMPLES = (
    "rangeseg pseudo-label runs/first --leave-out labelled.txt --out runs/pseudo",
    "rangeseg pseudo-label runs/first --unsure 0.9,person=0.6,bicyclist=0.6 --out runs/pseudo",
)


def run(arguments: argparse.Namespace) -> None:
    """Label scans where a run is sure, the surest share of each class at each distance, to train on (SemanticKITTI)."""
    from rangeseg.data.semantic_kitti import SemanticKitti, read_list
    from rangeseg.inference.labelled_files import least_sure
    from rangeseg.inference.pseudo_labels import Balance, Votes, pseudo_label
    from rangeseg.inference.segmenter import Segmenter

    if arguments.votes < 0 or (arguments.poses and not arguments.votes):
        raise ValueError(f"--votes {arguments.votes}: give the number of scans before and behind, 1 or more.")
    votes = Votes(arguments.votes, arguments.poses) if arguments.votes else None
    keep = arguments.keep if arguments.keep is not None else 1.0 if arguments.unsure else Balance.keep
    balance = Balance(keep, arguments.annuli, arguments.width_m)
    segmenter = Segmenter.load(arguments.run, device=arguments.device, overrides=arguments.overrides)
    least = least_sure(arguments.unsure, segmenter.label_map)
    source = segmenter.run.experiment.open(arguments.split, arguments.subset, labels=False)
    if not isinstance(source, SemanticKitti):
        raise ValueError("Pseudo-labels are written in SemanticKITTI's layout; data.dataset is of another one.")
    shares = pseudo_label(
        segmenter, source, arguments.out, balance, workers=segmenter.workers, progress=progress,
        least=0.0 if least is None else least,
        leave_out=read_list(arguments.leave_out) if arguments.leave_out else (), votes=votes,
    )  # fmt: skip
    OUT.print(", ".join(f"{name} {100 * share:.2f}" for name, share in shares.items()), soft_wrap=True)
    said = f"{100 * sum(shares.values()):.1f} % of the points are labelled below {arguments.out}"
    OUT.print(f"{said}; the scans are listed in {arguments.out / 'scans.txt'}.", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--split", default="train", help="whose scans")
    parser.add_argument("--subset", help="only these: a list file, or a shipped list's name")
    parser.add_argument("--leave-out", type=Path, help="a list of scans that have true labels")
    parser.add_argument("--out", type=Path, required=True, help="folder of the labels")
    parser.add_argument("--keep", type=float, help="share of each class in each annulus; 0.5, or with --unsure 1")
    add_unsure(parser)
    parser.add_argument("--annuli", type=int, default=10, help="rings about the sensor")
    parser.add_argument("--width-m", type=float, default=5.0, help="width of a ring, metres")
    parser.add_argument("--votes", type=int, default=0, help="pool probabilities with so many scans before and behind")
    parser.add_argument("--poses", type=Path, help="folder of `rangeseg poses`, or of such folders by sequence")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
