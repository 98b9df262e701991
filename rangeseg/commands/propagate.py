"""Labels carried along a drive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg propagate /data/semantic_kitti/sequences/08 --labelled 000000 --out carried --png scan.png",
    "rangeseg propagate --config mini_kitti/drives data.root=/data/semantic_kitti --out carried",
)

RULES = (
    *("neighbours", "min_neighbours", "min_agreement", "max_distance_m", "max_distance_per_m"),
    *("max_scans", "max_sensor_distance_m", "merge_deg", "merge_m"),
)


def run(arguments: argparse.Namespace) -> None:
    """Carry the labels of some scans of a drive to all scans in reach, by poses.

    A point takes the class of the nearest labelled points of other scans, if they agree and are near; not if the
    labelled scan saw through the point, and not from what moves. Labels are written in the dataset's own layout, and
    beside them (evidence/NAME.npz) what each rests on. Rules that are not given are those for scans labelled in whole,
    or for clicks, as the labels are. With --config, the labels are those that its data.labelled, label_fraction and
    label_seed leave.
    """
    from rangeseg.apps.propagate import run_propagate
    from rangeseg.apps.propagate_config import requests_of
    from rangeseg.config import read_config
    from rangeseg.drive.request import Request

    rules = {name: getattr(arguments, name) for name in RULES} | {"visibility": not arguments.no_visibility}
    names = ("drive", "out", "labels", "every", "poses", "scene", "dataset")
    requests: Request | list[Request] = Request(
        **{name: getattr(arguments, name) for name in names},
        labelled=tuple(arguments.labelled),
        exclude=tuple(arguments.exclude),
        rules=rules,
    )
    if (arguments.drive is None) == (arguments.config is None):
        raise ValueError("Name a drive, or a config with --config: one of the two.")
    if arguments.config:
        config = read_config(arguments.config, [*arguments.overrides, "runtime.out=.", "optim.steps=1"])
        requests = requests_of(config, cast(Request, requests))
    elif arguments.overrides:
        raise ValueError(f"{arguments.overrides[0]}: changes a config's key; name the config with --config.")
    options = {name: getattr(arguments, name) for name in ("overwrite", "workers", "png", "scan")}
    for line in run_propagate(requests, json_path=arguments.json, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("drive", type=Path, nargs="?", help="a sequence's folder, nuScenes' root, or a folder of scans")
    parser.add_argument("--config", help="instead: the labels that this config trains on, along all drives of its data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the carried labels, in the dataset's layout")
    parser.add_argument("--labels", type=Path, help="folder of the labels, in that layout; else the dataset's own")
    parser.add_argument("--labelled", nargs="+", default=[], help="only these scans' labels count: names, or a list")
    parser.add_argument("--every", type=int, default=1, help="of these the first of so many: what would fewer give?")
    parser.add_argument("--poses", type=Path, help="folder that `rangeseg poses` wrote; else the dataset's own")
    parser.add_argument("--scene", help="of nuScenes, e.g. scene-0061")
    parser.add_argument("--dataset", help="whose classes: a shipped dataset or a YAML; else the layout's")
    parser.add_argument("--exclude", nargs="+", default=[], help="classes that are not carried, beside what moves")
    parser.add_argument("--neighbours", type=int, help="how many labelled points are asked (3)")
    parser.add_argument(
        "--min-neighbours", type=int, help="how many must be within the limit (whole scans 1, clicks 3)"
    )
    parser.add_argument("--min-agreement", type=float, help="share of them that must agree (whole scans 0.6, clicks 1)")
    parser.add_argument(
        "--max-distance-m", type=float, help="metres to the labelled points (whole scans 0.5, clicks 2)"
    )
    parser.add_argument("--max-distance-per-m", type=float, help="metres more for each metre of range (0)")
    parser.add_argument("--max-scans", type=int, help="so many scans ahead and back (whole scans 10, clicks 20)")
    parser.add_argument("--max-sensor-distance-m", type=float, help="so far between the sensor's places (30)")
    parser.add_argument("--merge-deg", type=float, help="clicks of a class within this angle count once (0.5)")
    parser.add_argument("--merge-m", type=float, help="and those within so many metres (0); 1 for strokes")
    parser.add_argument("--no-visibility", action="store_true", help="carry onto what the labelled scan saw through")
    parser.add_argument("--workers", type=int, default=2, help="threads; the labels do not depend on them")
    parser.add_argument("--overwrite", action="store_true", help="write again what is there")
    parser.add_argument("--png", type=Path, help="draw a scan before and after")
    parser.add_argument("--scan", help="which one; else the middle one of those that nobody labelled")
    parser.add_argument("--json", type=Path, help="write all counts here")
