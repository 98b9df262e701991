"""`rangeseg suggest`: the scans to label next."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, add_deskew, add_trust, progress, table, values_of, whole
from rangeseg.commands.fields import add_fields, requested_fields, with_fields

if TYPE_CHECKING:
    from rangeseg.apps.suggest import Suggested

EXAMPLES = (
    "rangeseg suggest /data/semantic_kitti/sequences/08 --count 5 --run kitti",
    "rangeseg suggest scans --dataset my_classes.yaml --poses poses --count 3 --prelabel to_label --form ply",
)

RULES = ("max_distance_m", "max_distance_per_m", "max_scans", "max_sensor_distance_m")


def run(arguments: argparse.Namespace) -> None:
    """Select the scans of a drive to label next.

    Each selected scan is the one whose labels would reach the most points that no label reaches yet, if `rangeseg
    propagate` carried them. With --run, a point has a larger weight if the network is uncertain or if its class is
    rare. Labelled scans are not selected, and the points that their labels reach count as covered.
    """
    from rangeseg.apps.suggest import prelabel, suggest, write_report
    from rangeseg.drive.layouts import has_fixed_columns
    from rangeseg.drive.prelabels import FORMS
    from rangeseg.drive.request import Request
    from rangeseg.inference.segmenter import Segmenter

    for name in ("form", "carried"):
        if getattr(arguments, name) is not None and arguments.prelabel is None:
            raise ValueError(f"--{name}: only with --prelabel OUT.")
    rules = values_of(arguments, *RULES) | {"visibility": not arguments.no_visibility}
    given = values_of(arguments, "drive", "labels", "poses", "scene", "dataset", "deskew")
    segmenter, fields = None, requested_fields(arguments)
    if arguments.run is not None:
        segmenter = Segmenter.load(
            arguments.run, device=arguments.device, overrides=with_fields(arguments), trust=arguments.trust
        )
        if not has_fixed_columns(arguments.drive):
            fields = segmenter.run.config.data.dataset.get("fields") or {}
    request = Request(**given, out=Path(), labelled=tuple(arguments.labelled), rules=rules, fields=fields)
    found = suggest(request, arguments.count, segmenter=segmenter, workers=arguments.workers, progress=progress)
    _print(found)
    if arguments.json:
        write_report(arguments.json, found)
        OUT.print(f"suggestions: {arguments.json}", soft_wrap=True)
    if arguments.prelabel and found.scans:
        words = prelabel(
            request, found, arguments.prelabel, arguments.form or FORMS[0], segmenter=segmenter,
            carried=arguments.carried, progress=progress,
        )  # fmt: skip
        for line in words:
            OUT.print(line, soft_wrap=True)


def _print(found: Suggested) -> None:
    labelled, scans = len(found.task.labelled), len(found.task.drive.scans)
    OUT.print(
        f"{found.task.drive.name}: {scans} scans, {found.points:,} points; the labels of {labelled} scans cover "
        f"{100 * found.before:.1f} %",
        soft_wrap=True,
    )
    rows = table("scan", "gain, points", "cumulative coverage %", "mean entropy, nats", "rare classes")
    for one in found.scans:
        entropy = "" if one.entropy is None else f"{one.entropy:.2f}"
        rows.add_row(one.scan, f"{one.gain:,}", f"{100 * one.coverage:.1f}", entropy, ", ".join(one.rare))
    OUT.print(rows if found.scans else "No other scan increases the coverage.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("drive", type=Path, help="a sequence's folder, nuScenes' root, or a folder of scans")
    parser.add_argument("--count", type=int, default=5, help="number of scans to select")
    parser.add_argument(
        "--run", type=Path, help="run or shipped weights; gives uncertain points and rare classes a larger weight"
    )
    parser.add_argument("--labels", type=Path, help="folder of the labels; default: the labels of the dataset")
    parser.add_argument(
        "--labelled", nargs="+", default=[], help="use only the labels of these scans: names, or a list file"
    )
    parser.add_argument(
        "--poses", type=Path, help="folder written by `rangeseg poses`; default: the poses of the dataset"
    )
    parser.add_argument("--scene", help="scene of nuScenes, for example scene-0061")
    add_deskew(parser)
    parser.add_argument("--dataset", help="dataset or YAML with the classes; default: found from the layout")
    add_fields(parser)
    _add_rules(parser)
    parser.add_argument("--json", type=Path, help="write the selected scans to this JSON file")
    parser.add_argument(
        "--prelabel", type=Path, metavar="OUT", help="write the selected scans with initial labels to this folder"
    )
    parser.add_argument(
        "--form", choices=("point_labeler", "ply", "pcd"),
        help="format of --prelabel: a folder for point_labeler (the default), or files for CloudCompare",
    )  # fmt: skip
    parser.add_argument("--carried", type=Path, help="with --prelabel: carried labels to use as initial labels")
    parser.add_argument(
        "--workers", type=whole(0), default=2, help="number of threads; the result does not depend on it"
    )
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """The rules of `rangeseg propagate` that decide which points a label reaches."""
    parser.add_argument(
        "--max-distance-m", type=float, help="maximum distance to labelled points, as in propagate (default: 0.5)"
    )
    parser.add_argument(
        "--max-distance-per-m", type=float, help="increase of this distance per metre of range (default: 0)"
    )
    parser.add_argument("--max-scans", type=int, help="maximum number of scans between the two (default: 10)")
    parser.add_argument(
        "--max-sensor-distance-m", type=float, help="maximum distance between the sensor positions (default: 30)"
    )
    parser.add_argument(
        "--no-visibility", action="store_true", help="labels also reach points that the labelled scan saw through"
    )
