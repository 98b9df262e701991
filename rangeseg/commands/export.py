"""`rangeseg export`: a run as one file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, add_trust, command_line, progress, whole
from rangeseg.notices import notify
from rangeseg.paths import absolute

if TYPE_CHECKING:
    from rangeseg.inference.predict import Task
    from rangeseg.inference.run import Run
    from rangeseg.inference.segmenter import AnySample

EXAMPLES = (
    "rangeseg export runs/quick --out net.onnx",
    "rangeseg export runs/quick --out net.xml --int8 --calibrate scans/",
)


def run(arguments: argparse.Namespace) -> None:
    """Write a run as one file, verified against the run on real scans, or write its weights as a checkpoint.

    Raises:
        ValueError: the options do not fit each other, the run or the form of the file.
    """
    from rangeseg.inference.export import OPENVINO
    from rangeseg.inference.export import export as work
    from rangeseg.inference.predict import find_tasks
    from rangeseg.inference.run import Run
    from rangeseg.networks.exported import PACKAGE

    if arguments.int8 != bool(arguments.calibrate):
        raise ValueError(
            "--int8 needs real scans for the calibration, other than those for the verification: --calibrate SCANS."
            if arguments.int8
            else "--calibrate: only for --int8. Add --int8, or leave --calibrate out."
        )
    if arguments.int8 and arguments.out.suffix != OPENVINO:
        raise ValueError(f"{arguments.out}: --int8 is only for OpenVINO. Give a name that ends in {OPENVINO}.")
    loaded = Run.load(arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust)
    if arguments.out.suffix == ".pt":
        _weights(arguments, loaded)
        return
    files, kind = loaded.experiment.prediction_files, loaded.experiment.dataset
    tasks = find_tasks(arguments.calibrate, files) if arguments.int8 else []
    _notify_shared(tasks, find_tasks(arguments.inputs, files) if arguments.int8 and arguments.inputs else [])
    calibration = [files.read(task.file) for task in tasks[: arguments.max_scans]] if arguments.int8 else None
    chosen = inputs_of(loaded, arguments.inputs, arguments.max_scans)
    found = work(loaded, arguments.out, progress(chosen, "comparing", len(chosen)), calibration=calibration)
    scored = "" if found.mean_iou is None else " mIoU {:.2f}; mIoU of the run {:.2f}.".format(
        *(100 * one for one in reversed(found.mean_iou))
    )  # fmt: skip
    OUT.print(
        f"{arguments.out}: on {found.samples} {kind.kind}s, logits differ by at most {found.largest_difference:.1e} "
        f"and {found.differing} of {found.elements} {kind.element}s get another label.{scored}",
        soft_wrap=True,
    )
    if calibration:
        OUT.print(f"calibrated on {len(calibration)} of {len(tasks)} given {kind.kind}s (--max-scans)", soft_wrap=True)
    trust = ["--trust"] if arguments.out.suffix == PACKAGE else []
    OUT.print(
        f"next: {command_line('rangeseg', 'predict', arguments.out, 'SCANS', '--out', 'labels', *trust)}",
        soft_wrap=True,
    )


def _notify_shared(calibration: Sequence[Task], verification: Sequence[Task]) -> None:
    """Give a notice of files that are in both lists."""
    if shared := {absolute(task.file) for task in calibration} & {absolute(task.file) for task in verification}:
        notify(
            f"{min(shared)}: is given for the verification and to --calibrate ({len(shared)} such files), so the "
            "file may look better than it is. Give other scans to --calibrate."
        )


def _weights(arguments: argparse.Namespace, loaded: Run) -> None:
    from rangeseg.inference.export import write_weights

    if arguments.inputs:
        raise ValueError(f"{arguments.out}: weights are not compared with the run. Leave the scans out.")
    write_weights(loaded, arguments.out)
    OUT.print(f"{arguments.out}: the teacher alone, {arguments.out.stat().st_size / 1e6:.2f} MB", soft_wrap=True)


def inputs_of(run: Run, paths: Sequence[Path], max_scans: int) -> list[AnySample]:
    """Samples for the verification: the given files, or the evaluation split of the run, with labels if it has them."""
    from rangeseg.inference.predict import find_tasks

    files = run.experiment.prediction_files
    if paths:
        return [files.read(task.file) for task in find_tasks(paths, files)[:max_scans]]
    source = run.experiment.open(run.config.evaluation.split)
    try:
        return [source.item(index) for index in range(min(max_scans, len(source)))]
    except ValueError:  # the split has no labels
        source = run.experiment.open(run.config.evaluation.split, labels=False)
        return [files.read(task.file) for task in find_tasks([], files, source)[:max_scans]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        help="scans or photographs for the verification; default: the validation split of the run",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="output: NAME.onnx; NAME.xml for OpenVINO; NAME.pt2 for processors of this kind; or NAME.pt, a checkpoint",
    )
    parser.add_argument("--int8", action="store_true", help="for NAME.xml: quantise to int8 for faster inference")
    parser.add_argument("--calibrate", nargs="+", type=Path, default=[], help="scans for the calibration of --int8")
    parser.add_argument(
        "--max-scans",
        type=whole(),
        default=40,
        help="maximum number of scans or photographs for the verification, and for the calibration (default: 40)",
    )
    parser.add_argument("--device", default="cpu", help="the device on which NAME.pt2 will run")
    add_trust(parser)
