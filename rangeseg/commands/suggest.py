"""The scans that are worth labelling next."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, add_deskew, add_trust, progress, table

if TYPE_CHECKING:
    from rangeseg.apps.suggest import Suggested

EXAMPLES = (
    "rangeseg suggest /data/semantic_kitti/sequences/08 --count 5 --run kitti",
    "rangeseg suggest scans --dataset my_classes.yaml --poses poses --count 3 --prelabel to_label --form ply",
)

RULES = ("max_distance_m", "max_distance_per_m", "max_scans", "max_sensor_distance_m")


def run(arguments: argparse.Namespace) -> None:
    """Name the scans of a drive that are worth labelling next.

    Each is the one whose labels would reach the most points that no label reaches yet, as `rangeseg propagate` would
    carry them; with a run, points count by its uncertainty and by how rare their class is. Scans that are labelled
    already are left out, and what they reach is covered.
    """
    from rangeseg.apps.suggest import prelabel, suggest, write_report
    from rangeseg.drive.request import Request
    from rangeseg.inference.segmenter import Segmenter

    names = ("drive", "labels", "poses", "scene", "dataset", "deskew")
    rules = {name: getattr(arguments, name) for name in RULES} | {"visibility": not arguments.no_visibility}
    given = {name: getattr(arguments, name) for name in names}
    request = Request(**given, out=Path(), labelled=tuple(arguments.labelled), rules=rules)
    segmenter = None
    if arguments.run is not None:
        segmenter = Segmenter.load(
            arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust
        )
    found = suggest(request, arguments.count, segmenter=segmenter, workers=arguments.workers, progress=progress)
    _print(found)
    if arguments.json:
        write_report(arguments.json, found)
        OUT.print(f"suggestions: {arguments.json}", soft_wrap=True)
    if arguments.prelabel and found.scans:
        words = prelabel(
            request, found, arguments.prelabel, arguments.form, segmenter=segmenter, carried=arguments.carried,
            progress=progress,
        )  # fmt: skip
        for line in words:
            OUT.print(line, soft_wrap=True)


def _print(found: Suggested) -> None:
    labelled, scans = len(found.task.labelled), len(found.task.drive.scans)
    OUT.print(
        f"{found.task.drive.name}: {scans} scans, {found.points:,} points; labels of {labelled} scans cover "
        f"{100 * found.before:.1f} %",
        soft_wrap=True,
    )
    rows = table("scan", "gain, points", "covered with those above %", "mean entropy, nats", "rare classes")
    for one in found.scans:
        entropy = "" if one.entropy is None else f"{one.entropy:.2f}"
        rows.add_row(one.scan, f"{one.gain:,}", f"{100 * one.coverage:.1f}", entropy, ", ".join(one.rare))
    OUT.print(rows if found.scans else "No scan adds to them.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("drive", type=Path, help="a sequence's folder, nuScenes' root, or a folder of scans")
    parser.add_argument("--count", type=int, default=5, help="how many scans")
    parser.add_argument("--run", type=Path, help="a run or shipped weights, whose uncertainty and rare classes count")
    parser.add_argument("--labels", type=Path, help="folder of the labels that are there; else the dataset's own")
    parser.add_argument("--labelled", nargs="+", default=[], help="only these scans' labels count: names, or a list")
    parser.add_argument("--poses", type=Path, help="folder that `rangeseg poses` wrote; else the dataset's own")
    parser.add_argument("--scene", help="of nuScenes, e.g. scene-0061")
    add_deskew(parser)
    parser.add_argument("--dataset", help="whose classes: a shipped dataset or a YAML; else the layout's")
    parser.add_argument("--max-distance-m", type=float, help="as propagate's: a label reaches points nearer than this")
    parser.add_argument(
        "--max-distance-per-m", type=float, help="as propagate's: and this more for each metre of range"
    )
    parser.add_argument("--max-scans", type=int, help="as propagate's: up to so many scans ahead and back")
    parser.add_argument("--max-sensor-distance-m", type=float, help="as propagate's: and so far")
    parser.add_argument("--no-visibility", action="store_true", help="as propagate's")
    parser.add_argument("--json", type=Path, help="write the suggestions as JSON")
    parser.add_argument("--prelabel", type=Path, metavar="OUT", help="write these scans with a start to correct")
    parser.add_argument(
        "--form", choices=("point_labeler", "ply", "pcd"), default="point_labeler",
        help="of --prelabel: SemanticKITTI's labelling tool, or files for CloudCompare",
    )  # fmt: skip
    parser.add_argument("--carried", type=Path, help="of --prelabel: begin with what `rangeseg propagate` wrote")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)
