"""`rangeseg propagate`: carry the labels of some scans of a drive to its other scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from rangeseg.commands.console import OUT, add_deskew, progress, values_of, whole
from rangeseg.commands.fields import add_fields, requested_fields, with_fields

EXAMPLES = (
    "rangeseg propagate /data/semantic_kitti/sequences/08 --labelled 000000 --out carried --png scan.png",
    "rangeseg propagate --config mini_kitti/drives data.root=/data/semantic_kitti --out carried",
)

RULES = (
    "spread",
    *("neighbours", "min_neighbours", "min_agreement", "max_distance_m", "max_distance_per_m"),
    *("max_scans", "max_sensor_distance_m", "merge_deg", "merge_m", "voxel_m"),
)


def run(arguments: argparse.Namespace) -> None:
    """Carry the labels of some scans of a drive to its other scans, using the poses.

    A point takes the class of the nearest labelled points of other scans if they are near and agree; with clicks, that
    of the nearest click along the surface. A label is not carried if the labelled scan saw through the point, or if its
    class moves. The command writes labels in the layout of the dataset, and evidence/NAME.npz with the distance, votes
    and source of each label. The defaults of the rules depend on the labels: whole scans or clicks. With --config, the
    command carries the labels that the config trains on along all drives of its data.
    """
    from rangeseg.apps.propagate import run_propagate
    from rangeseg.apps.propagate_config import requests_of
    from rangeseg.config import read_config
    from rangeseg.drive.request import Request

    rules = values_of(arguments, *RULES) | {"visibility": not arguments.no_visibility}
    requests: Request | list[Request] = Request(
        **values_of(arguments, "drive", "out", "labels", "every", "poses", "scene", "dataset", "deskew"),
        fields=requested_fields(arguments),
        labelled=tuple(arguments.labelled),
        exclude=tuple(arguments.exclude),
        rules=rules,
    )
    if arguments.scan and not arguments.png:
        raise ValueError("--scan names the scan of the picture. Give --png PICTURE, too.")
    if (arguments.drive is None) == (arguments.config is None):
        raise ValueError("Give exactly one of DRIVE and --config CONFIG.")
    if arguments.config:
        config = read_config(arguments.config, [*with_fields(arguments), "runtime.out=.", "optim.steps=1"])
        requests = requests_of(config, cast(Request, requests))
    elif arguments.overrides:
        raise ValueError(f"{arguments.overrides[0]}: overrides need a config. Give it with --config.")
    options = values_of(arguments, "overwrite", "workers", "png", "scan")
    for line in run_propagate(requests, json_path=arguments.json, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("drive", type=Path, nargs="?", help="a sequence's folder, nuScenes' root, or a folder of scans")
    parser.add_argument(
        "--config", help="config whose training labels are carried along all its drives; replaces DRIVE"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder for the carried labels")
    parser.add_argument("--labels", type=Path, help="folder of the labels; default: the labels of the dataset")
    parser.add_argument(
        "--labelled",
        nargs="+",
        default=[],
        help="names of the labelled scans, NAME or DRIVE/NAME, or a list file, in which scans of other drives are "
        "skipped; default: all scans with a label file",
    )
    parser.add_argument("--every", type=whole(), default=1, help="use only every n-th labelled scan")
    parser.add_argument(
        "--poses",
        type=Path,
        help="folder written by `rangeseg poses`, or with --config a folder with one such folder per drive, named as "
        "the drive; default: the poses of the dataset",
    )
    parser.add_argument("--scene", help="scene of nuScenes, for example scene-0061")
    add_deskew(parser)
    parser.add_argument("--dataset", help="dataset or YAML with the classes; default: found from the layout")
    add_fields(parser)
    parser.add_argument(
        "--exclude", nargs="+", default=[], help="classes that are not carried, in addition to moving ones"
    )
    _add_rules(parser)
    _add_limits(parser)
    parser.add_argument("--workers", type=whole(0), default=2, help="number of threads; the labels do not depend on it")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing labels")
    parser.add_argument("--png", type=Path, help="draw a scan before and after")
    parser.add_argument("--scan", help="the scan for --png; default: the middle one of the unlabelled scans")
    parser.add_argument("--json", type=Path, help="write all counts to this file")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spread",
        choices=["nearest", "surface"],
        help="labels of the nearest labelled points, or of the nearest one along the surface (default for clicks)",
    )
    parser.add_argument(
        "--neighbours", type=int, help="number of nearest labelled points that vote (default: 3); nearest only"
    )
    parser.add_argument(
        "--min-neighbours",
        type=int,
        help="least number of them within the maximum distance (default: 1; clicks: all of --neighbours); nearest only",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        help="nearest: least share with one class (default: 0.6; clicks: 1); surface: path from another class / length "
        "of both paths (default: 0.6)",
    )
    parser.add_argument(
        "--voxel-m", type=float, help="edge of the voxels that form the surface (default: 0.3); surface only"
    )
    parser.add_argument(
        "--max-distance-m",
        type=float,
        help="maximum distance to labelled points (default: 0.5; clicks: 2) or length of the path (default: 5)",
    )
    parser.add_argument(
        "--max-distance-per-m", type=float, help="increase of this distance per metre of range (default: 0)"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-scans", type=int, help="maximum number of scans between the two (default: 10; clicks: 20)"
    )
    parser.add_argument(
        "--max-sensor-distance-m", type=float, help="maximum distance between the sensor positions (default: 30)"
    )
    parser.add_argument(
        "--merge-deg", type=float, help="count clicks of one class within this angle once (default: 0.5)"
    )
    parser.add_argument(
        "--merge-m",
        type=float,
        help="count clicks of one class within this distance once (default: 0); 1 suits strokes",
    )
    parser.add_argument(
        "--no-visibility", action="store_true", help="also carry labels to points that the labelled scan saw through"
    )
