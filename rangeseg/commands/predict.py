"""`rangeseg predict`: labels from a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, progress
from rangeseg.commands.fields import add_fields, with_fields

FIRST = (
    "No run given: using the small network that ships with rangeseg. It was trained on synthetic streets and "
    "unlabelled KITTI scans, and it is often wrong (datasets/semantic_kitti/first_answer.md). Train your own."
)
"""The message if no run is named."""

RECORDINGS = (".bag", ".mcap", ".db3", ".pcap", ".osf")
"""Endings of what `rangeseg unpack` reads."""

EXAMPLES = (
    "rangeseg predict scans --run runs/quick --out labels",
    "rangeseg predict runs/quick --split test --out predictions --zip submission.zip",
)


def run(arguments: argparse.Namespace) -> None:
    """Write labels for files, folders or a split in the dataset's own format; processes of torchrun share the files."""
    if arguments.drive:
        along_drive(arguments)
        return
    from rangeseg.apps.predict import predict_inputs

    run, inputs = arguments.run, arguments.inputs
    if run is None and inputs and not _is_scans(inputs[0]):
        run, *inputs = inputs
    elif run is None and inputs:
        OUT.print(FIRST, soft_wrap=True)
    elif run is None:
        raise ValueError("There is nothing to predict. Give scans or a folder of them, with --run RUN in front.")
    names = ("split", "zip", "partial", "overwrite", "anyway", "workers", "device", "compile", "trust")
    options = {name: getattr(arguments, name) for name in names} | {"overrides": with_fields(arguments)}
    for line in predict_inputs(run, inputs, arguments.out, watch=progress, **options):
        OUT.print(line, soft_wrap=True)


def along_drive(arguments: argparse.Namespace) -> None:
    """Label a drive; without a run, with the network that ships with rangeseg."""
    from rangeseg.apps.predict_drive import predict_drive

    run = arguments.run or next(iter(arguments.inputs), None)
    if run is None:
        OUT.print(FIRST, soft_wrap=True)
    names = ("poses", "scene", "votes", "workers", "device", "overrides", "trust")
    options = {name: getattr(arguments, name) for name in names}
    for line in predict_drive(run, arguments.drive, arguments.out, watch=progress, **options):
        OUT.print(line, soft_wrap=True)


def _is_scans(path: Path) -> bool:
    """A scan, or a folder that is no run and has scans in it.

    Raises:
        ValueError: it is a recording, a photograph, or a folder of neither a run nor scans.
    """
    from rangeseg.photos.io import IMAGE_SUFFIXES
    from rangeseg.scan_io import READERS

    if path.suffix in RECORDINGS:
        raise ValueError(f"{path}: is a recording; make scans of it first: rangeseg unpack {path} --out scans")
    if path.is_dir() and (path / "last.pt").is_file():
        return False
    names = [file.name.lower() for file in path.rglob("*")] if path.is_dir() else [path.name.lower()]
    if any(name.endswith(READERS) for name in names):
        return True
    if any(name.endswith(IMAGE_SUFFIXES) for name in names):
        raise ValueError(f"{path}: photographs need a run that has learnt from such; give it first, or as --run RUN.")
    if path.is_dir():
        raise ValueError(
            f"{path}: is neither a run (there is no last.pt) nor a folder of scans ({', '.join(READERS)}). "
            "Give one of them."
        )
    return False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        help="files or folders of scans or photographs, with a run in front of them; without a run, the shipped "
        "network labels them",
    )
    parser.add_argument("--run", type=Path, help="run folder, checkpoint or exported file")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="output folder for the labels")
    add_fields(parser)
    parser.add_argument("--drive", type=Path, help="label the scans of this drive, with votes of the scans around each")
    parser.add_argument("--votes", type=int, default=2, help="with --drive: scans before and behind that vote")
    parser.add_argument("--poses", type=Path, help="with --drive: folder that `rangeseg poses` wrote")
    parser.add_argument("--scene", help="with --drive: scene of nuScenes")
    parser.add_argument("--split", help="label all scans or photographs of this split")
    parser.add_argument("--zip", type=Path, help="pack the labels for the benchmark's server")
    parser.add_argument("--partial", action="store_true", help="pack an incomplete split")
    parser.add_argument("--anyway", action="store_true", help="exit with 0 even if most scans do not fit the run")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing complete predictions")
    parser.add_argument(
        "--workers",
        type=int,
        help="number of threads, which label one scan each on a CPU, or read and write files for a GPU",
    )
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="use torch.compile, which takes half a minute and pays off for many scans",
    )
    add_trust(parser)
