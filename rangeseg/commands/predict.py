"""`rangeseg predict`: labels from a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rangeseg.commands.console import OUT, add_deskew, add_trust, add_unsure, progress, values_of, whole
from rangeseg.commands.fields import add_fields, requested_fields, with_fields

NO_RUN = (
    "No run given: using any-lidar, a network that ships with rangeseg. It was trained on synthetic streets alone, and "
    "it is often wrong. For an HDL-64E, as in KITTI, give --run kitti. Better: train your own."
)
"""The message if no run is named."""

CAPTURES = (".pcap", ".osf")
"""Suffixes of captures, which only `rangeseg unpack` reads."""

OF_RECORDINGS = ("topic", "layout", "class_ids", "filter", "drop_input")
"""Options for recordings only."""

OF_DRIVES = ("poses", "scene", "dataset", "deskew", "carried", "votes")
"""Options for --drive only."""

VOTES = 2
"""The value of --votes if it is not given."""

NOT_OF_RECORDINGS = ("partial", "confidence")
"""Further options that cannot be combined with a recording."""

NOT_OF_DRIVES = ("split", "zip", "partial", "compile")
"""Further options that cannot be combined with --drive."""

EXAMPLES = (
    "rangeseg predict scans --run runs/quick --out labels",
    "rangeseg predict runs/quick drive.mcap --out labelled.mcap --filter car person",
)


def run(arguments: argparse.Namespace) -> None:
    """Label files, folders, a split, a drive or a recording; the processes of torchrun share the work."""
    if arguments.drive:
        along_drive(arguments)
        return
    if given := _given(arguments, OF_DRIVES):
        raise ValueError(f"{given}: only with --drive DRIVE.")
    from rangeseg.apps.predict import predict_inputs
    from rangeseg.scan_formats.recordings import is_recording

    run, inputs = arguments.run, arguments.inputs
    if run is None and inputs and not _is_scans(inputs[0]):
        run, *inputs = inputs
    elif run is None and inputs:
        OUT.print(NO_RUN, soft_wrap=True)
    elif run is None:
        raise ValueError("There is nothing to predict. Give scan files or a folder of scans, after --run RUN.")
    if any(is_recording(path) for path in inputs):
        label_recording(run, inputs, arguments)
        return
    if given := _given(arguments, OF_RECORDINGS):
        raise ValueError(f"{given}: only for recordings (.bag, .mcap, .db3, or the folder of a ROS 2 bag).")
    names = ("split", "zip", "partial", "overwrite", "anyway", "workers", "device", "compile", "trust", "format")
    if arguments.unsure and arguments.zip:
        raise ValueError("--unsure leaves labels out, and a submission (--zip) needs all of them. Drop one of them.")
    if arguments.format != "label" and arguments.zip:
        raise ValueError(f"--format {arguments.format} is no format of a submission (--zip). Drop one of them.")
    options = values_of(arguments, *names, "confidence", "unsure")
    options["overrides"] = with_fields(arguments)
    for line in predict_inputs(run, inputs, arguments.out, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def label_recording(run: Path | None, inputs: Sequence[Path], arguments: argparse.Namespace) -> None:
    """Write a copy of a recording with labelled clouds."""
    from rangeseg.apps.predict_recording import Labelling, predict_recording
    from rangeseg.inference.labelled_files import least_sure
    from rangeseg.inference.segmenter import Segmenter

    if len(inputs) > 1 or arguments.split or arguments.zip or arguments.format != "label":
        raise ValueError(
            "predict labels one recording at a time. Give one recording, without --split, --zip and --format."
        )
    if given := _given(arguments, NOT_OF_RECORDINGS):
        raise ValueError(f"{given}: not for recordings, whose labelled clouds have the confidence; leave it out.")
    segmenter = Segmenter.load(
        run, device=arguments.device, overrides=arguments.overrides, compile=arguments.compile, trust=arguments.trust
    )
    chosen = (arguments.layout or "autoware", arguments.class_ids or "autoware", arguments.filter)
    least = least_sure(arguments.unsure, segmenter.label_map)
    options = values_of(arguments, "topic", "drop_input", "overwrite", "anyway", "workers")
    lines = predict_recording(
        segmenter, inputs[0], arguments.out, Labelling(segmenter.label_map, *chosen, least),
        fields=requested_fields(arguments), progress=progress, **options,
    )  # fmt: skip
    for line in lines:
        OUT.print(line, soft_wrap=True)


def along_drive(arguments: argparse.Namespace) -> None:
    """Label the scans of a drive; without a run, the shipped network labels them."""
    from rangeseg.apps.predict_drive import predict_drive
    from rangeseg.drive.layouts import has_fixed_columns

    if given := _given(arguments, (*OF_RECORDINGS, *NOT_OF_DRIVES)):
        raise ValueError(f"{given}: not with --drive; leave it out.")
    if arguments.fields and has_fixed_columns(arguments.drive):
        raise ValueError("--fields: not for drives of PandaSet and nuScenes, whose columns are fixed; leave it out.")
    if len(arguments.inputs) > (arguments.run is None):
        raise ValueError("--drive cannot be combined with other inputs. Give only --drive and at most one run.")
    run = arguments.run or next(iter(arguments.inputs), None)
    if run is None:
        OUT.print(NO_RUN, soft_wrap=True)
    names = ("format", "confidence", "unsure", "workers", "device", "trust", "overwrite", "anyway")
    options = values_of(arguments, *OF_DRIVES, *names) | {"overrides": with_fields(arguments)}
    options["votes"] = VOTES if arguments.votes is None else arguments.votes
    for line in predict_drive(run, arguments.drive, arguments.out, progress=progress, **options):
        OUT.print(line, soft_wrap=True)


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> str:
    """The given ones of the options, joined by "and", for errors; empty if none is given."""
    values = values_of(arguments, *names)
    chosen = [name for name, value in values.items() if value is not None and value is not False and value != []]
    return " and ".join(f"--{name.replace('_', '-')}" for name in chosen)


def _is_scans(path: Path) -> bool:
    """Whether a path is a scan, a recording or a folder of scans, and not a run or the name of weights.

    Raises:
        ValueError: the path is a capture, a photograph or a folder of photographs, or a folder without a run or scans.
    """
    from rangeseg.paths import walk
    from rangeseg.photos.io import IMAGE_SUFFIXES
    from rangeseg.scan_formats.recordings import is_recording
    from rangeseg.scan_io import READERS
    from rangeseg.weights import SUFFIX

    if is_recording(path):
        return True
    if path.suffix in CAPTURES:
        raise ValueError(f"{path}: is a capture. Convert it to scans first: rangeseg unpack {path} --out scans")
    if path.is_dir() and ((path / "last.pt").is_file() or any(path.glob(f"*{SUFFIX}"))):
        return False
    names = [file.name for file in walk(path)] if path.is_dir() else [path.name]
    if any(name.endswith(READERS) for name in names):
        return True
    if any(name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise ValueError(
            f"{path}: photographs need a run that was trained on photographs. Give it first, or with --run RUN."
        )
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
    parser.add_argument(
        "--drive", type=Path, help="label the scans of a drive, each with the votes of the scans around it"
    )
    parser.add_argument(
        "--votes", type=int, help=f"with --drive: number of voting scans before and after each scan (default: {VOTES})"
    )
    parser.add_argument("--poses", type=Path, help="with --drive: folder written by `rangeseg poses`")
    parser.add_argument(
        "--carried", type=Path, help="with --drive: folder of `rangeseg propagate`, whose labels replace predictions"
    )
    parser.add_argument("--scene", help="with --drive: scene of nuScenes")
    parser.add_argument("--dataset", help="with --drive: dataset or YAML with the classes; default: from the layout")
    add_deskew(parser)
    parser.add_argument("--split", help="label all scans or photographs of this split")
    parser.add_argument("--zip", type=Path, help="pack the labels for the benchmark's server")
    parser.add_argument("--partial", action="store_true", help="pack an incomplete split")
    parser.add_argument("--anyway", action="store_true", help="exit with 0 even if most scans do not fit the run")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing complete predictions")
    parser.add_argument("--workers", type=whole(0), help="number of threads for scans, or to read and write for a GPU")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="use torch.compile, which takes half a minute and pays off for many scans",
    )
    add_trust(parser)
    add_forms(parser)
    add_of_recordings(parser.add_argument_group("for recordings"))


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the content and format of the labels."""
    parser.add_argument(
        "--format", choices=("label", "pcd", "ply", "las", "npz"), default="label",
        help="label: the format of the dataset; others: points with label, confidence and entropy",
    )  # fmt: skip
    parser.add_argument("--confidence", action="store_true", help="also write NAME_confidence.npz for each label file")
    add_unsure(parser)


def add_of_recordings(group: argparse._ArgumentGroup) -> None:
    """Declare the options that only recordings have."""
    group.add_argument("--topic", help="topic of the point clouds, if there are several")
    group.add_argument(
        "--layout", choices=("autoware", "fields"),
        help="autoware: x, y, z, class_id, probability, entropy; fields: the fields of the input cloud, and label, "
        "confidence and entropy",
    )  # fmt: skip
    group.add_argument(
        "--class-ids", choices=("autoware", "train"), help="autoware: classes of Autoware; train: train ids, 0 to K-1"
    )
    group.add_argument("--filter", nargs="+", default=[], help="also write the clouds without points of these classes")
    group.add_argument("--drop-input", action="store_true", help="do not copy the input clouds")
