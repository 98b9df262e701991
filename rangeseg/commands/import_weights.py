"""`rangeseg import-weights`: published weights as a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT

EXAMPLES = (
    "rangeseg import-weights rangenet53/ --config semantic_kitti/rangenet53_full --out runs/rangenet53",
    "rangeseg import-weights cenet.pt --config semantic_kitti/cenet_512 --out runs/cenet --new-classifier",
)


def run(arguments: argparse.Namespace) -> None:
    """Make a run folder from published weights, for evaluate, predict, show and export."""
    from rangeseg.config import read_config
    from rangeseg.inference.import_weights import import_weights

    named = [] if arguments.network is None else [f"network.name={arguments.network}"]
    # any root will do: the run may label scans that belong to no dataset
    config = read_config(arguments.config, ["data.root=.", *named, *arguments.overrides])
    config.runtime.out = str(arguments.out)
    count = import_weights(arguments.files, config, new_classifier=arguments.new_classifier)
    note = ", the classifier untrained" if arguments.new_classifier else ""
    OUT.print(f"{arguments.out}: {count / 1e6:.2f} M parameters{note}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "files", nargs="+", type=Path, help="a checkpoint; or lidar-bonnetal's three files, or their folder"
    )
    parser.add_argument(
        "--config", required=True, help="the config whose channels, means and projection match the weights"
    )
    parser.add_argument("--network", help="the network, with its default arguments; default: the network of the config")
    parser.add_argument("--out", type=Path, required=True, help="output: the run folder")
    parser.add_argument(
        "--new-classifier", action="store_true", help="leave the classifier untrained, to train it on other classes"
    )
