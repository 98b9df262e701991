"""`rangeseg synthesise`: synthetic streets."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress, values_of, whole

EXAMPLES = (
    "rangeseg synthesise --out streets",
    "rangeseg synthesise --out streets --sensor vlp16 --sequences 00 08 --scans 50",
)


def run(arguments: argparse.Namespace) -> None:
    """Write scans of synthetic streets in SemanticKITTI's layout, or compare them with real ones."""
    from rangeseg.apps.realism import compare
    from rangeseg.data.synthesise import synthesise

    if arguments.compare_with:
        for path in compare(arguments.compare_with, arguments.out, seed=arguments.seed):
            OUT.print(f"comparison with real scans: {path}", soft_wrap=True)
        return
    options = values_of(arguments, "scans", "sensor", "seed", "scans_per_street", "spacing_m", "keep")
    written = synthesise(arguments.out, arguments.sequences, **options)
    total = len(set(arguments.sequences)) * arguments.scans
    for _ in progress(written, "writing scans", total):
        pass
    OUT.print(f"{total} scans in {arguments.out / 'sequences'}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder; it gets sequences/SS/velodyne, labels and poses.txt"
    )
    parser.add_argument(
        "--sequences", nargs="+", default=["00", "08"], help="names of the sequences, from SemanticKITTI's 00 to 21"
    )
    parser.add_argument("--scans", type=whole(), default=100, help="number of scans in each sequence")
    parser.add_argument(
        "--scans-per-street",
        type=int,
        default=20,
        help="number of scans per street; fewer scans give more streets and take longer",
    )
    parser.add_argument("--spacing-m", type=float, default=4.0, help="distance in metres between two scans of a street")
    parser.add_argument(
        "--sensor", default="hdl64e", help="a shipped sensor, the YAML of a sensor, or random (another one per scan)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers; each seed gives new streets")
    parser.add_argument(
        "--compare-with",
        type=Path,
        help="compare with the scans of this SemanticKITTI folder instead of writing scans",
    )
    parser.add_argument("--keep", action="store_true", help="keep existing scans, which must have the same options")
