"""Measurements of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, table

EXAMPLES = (
    "rangeseg analyse patch-distance mini_kitti --out distances data.root=/data/semantic_kitti",
    "rangeseg analyse patch-distance my.yaml --patches 3 7 --every 2 --out distances",
)


def run(arguments: argparse.Namespace) -> None:
    """Measure a dataset: is there a low-density region along class boundaries?"""
    from rangeseg.apps.analyse import patch_distance
    from rangeseg.config import read_config

    config = read_config(arguments.config, [*arguments.overrides, "runtime.out=."])
    names = ("split", "patches", "anchors", "every", "seed")
    result = patch_distance(config, arguments.out, **{name: getattr(arguments, name) for name in names})
    heads = ("ratio", "AUC", "AUC right", "AUC below", "same class", "chance", "of as many")
    measures = ("contrast", "separability", "separability_right", "separability_below")
    rows = table("patch", *heads, title="pairs across a boundary; the nearest patch of another scene")
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
    """What follows the command."""
    parser.add_argument("what", choices=["patch-distance"], help="what is measured")
    parser.add_argument("config", help="whose views are measured; key.path=value after it overrides")
    parser.add_argument("--out", type=Path, required=True, help="folder for JSON and PNG")
    parser.add_argument("--split", default="train", help="train, val or test")
    parser.add_argument("--patches", type=int, nargs="+", default=[3, 7, 15], help="sides of the patches, pixels, odd")
    parser.add_argument("--anchors", type=int, default=4000, help="patches whose nearest neighbours are looked for")
    parser.add_argument("--every", type=int, default=1, help="only every n-th scan or photograph")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
