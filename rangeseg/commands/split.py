"""`rangeseg split`: labelled lists."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT

EXAMPLES = (
    "rangeseg split --out lists --fractions 0.1 0.2",
    "rangeseg split --out lists --dataset camvid --root /data/camvid --counts 46",
)


def run(arguments: argparse.Namespace) -> None:
    """Draw nested lists of labelled scans or photographs."""
    from rangeseg.apps.split import write_lists

    for path in write_lists(
        arguments.out,
        fractions=tuple(arguments.fractions),
        counts=tuple(arguments.counts),
        seed=arguments.seed,
        by=arguments.by,
        order=arguments.order,
        dataset=arguments.dataset,
        root=arguments.root,
        options=tuple(arguments.options),
    ):
        OUT.print(f"list: {path}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--out", type=Path, required=True, help="output folder for the lists")
    parser.add_argument("--dataset", default="semantic_kitti", help="name of the dataset")
    parser.add_argument(
        "--root", type=Path, help="folder of the dataset; default for scans: names from the official counts"
    )
    sizes, order = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--fractions",
        type=float,
        nargs="+",
        default=[0.01, 0.1, 0.2, 0.5],
        help="shares of the training split, one list each",
    )
    sizes.add_argument(
        "--counts", type=int, nargs="+", default=[], help="numbers of scans or photographs instead of fractions"
    )
    parser.add_argument(
        "--by", choices=["frame", "block", "scene", "permutation"], default="frame", help="the unit that is drawn"
    )
    order.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    order.add_argument(
        "--order",
        type=Path,
        help="with --by permutation: a published permutation (.npy, .pkl or .txt) instead of the seed",
    )
    parser.add_argument("--options", nargs="+", default=[], help="options of the dataset, e.g. train_list=train_aug")
