"""`rangeseg analyse`: measurements of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, table, values_of, whole

EXAMPLES = (
    "rangeseg analyse patch-distance mini_kitti --out distances data.root=/data/semantic_kitti",
    "rangeseg analyse patch-distance my.yaml --patches 3 7 --every 2 --out distances",
)


def run(arguments: argparse.Namespace) -> None:
    """Measure whether a dataset has a low-density region along its class boundaries."""
    from rangeseg.apps.analyse import patch_distance
    from rangeseg.config import read_config

    config = read_config(arguments.config, [*arguments.overrides, "runtime.out=."])
    options = values_of(arguments, "split", "patches", "anchors", "every", "seed")
    result = patch_distance(config, arguments.out, **options)
    heads = ("ratio", "AUC", "AUC right", "AUC below", "same class nearer", "by chance", "with equal numbers")
    measures = ("contrast", "separability", "separability_right", "separability_below")
    rows = table("patch", *heads, title="neighbours across a class boundary | nearest patch in another scene")
    for patch, part in result["patches"].items():
        shown = ["none" if (value := part["neighbours"][name]) is None else f"{value:.2f}" for name in measures]
        near = part["nearest"]
        shares = [near, near, near["of_as_many"]] if near["anchors"] else []
        kinds = ("same_class_is_nearer", "by_chance", "same_class_is_nearer")
        same = [f"{share[kind]:.1%}" for share, kind in zip(shares, kinds, strict=False)]
        rows.add_row(patch, *shown, *same)
    OUT.print(rows)
    OUT.print(f"numbers and picture: {arguments.out}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("what", choices=["patch-distance"], help="the measurement")
    parser.add_argument("config", help="the config whose views are measured; key.path=value overrides its keys")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON and PNG files")
    parser.add_argument("--split", default="train", help="train, val or test")
    parser.add_argument(
        "--patches", type=int, nargs="+", default=[3, 7, 15], help="side lengths of the patches in pixels; odd numbers"
    )
    parser.add_argument(
        "--anchors", type=whole(), default=4000, help="number of patches whose nearest neighbours are searched"
    )
    parser.add_argument("--every", type=whole(), default=1, help="use every n-th scan or photograph")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
