"""`rangeseg export`: a run as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, command_line, progress

EXAMPLES = (
    "rangeseg export runs/quick --out net.onnx",
    "rangeseg export runs/quick scans/ --out net.pt2",
)


def run(arguments: argparse.Namespace) -> None:
    """Write a run as one file, verified against the run on real scans, or write its weights as a checkpoint."""
    from rangeseg.inference.export import export as work
    from rangeseg.inference.export import write_weights
    from rangeseg.inference.predict import find_tasks
    from rangeseg.inference.run import Run
    from rangeseg.networks.exported import PACKAGE

    loaded = Run.load(arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust)
    if arguments.out.suffix == ".pt":
        write_weights(loaded, arguments.out)
        OUT.print(f"{arguments.out}: the teacher alone, {arguments.out.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
        return
    experiment = loaded.experiment
    files, kind = experiment.prediction_files, experiment.dataset
    source = None if arguments.inputs else experiment.open(loaded.config.evaluation.split, labels=False)
    chosen = [files.read(task.file) for task in find_tasks(arguments.inputs, files, source)[: arguments.most]]
    found = work(loaded, arguments.out, progress(chosen, "comparing", len(chosen)))
    OUT.print(
        f"{arguments.out}: on {found.things} {kind.kind}s logits differ by at most {found.largest_difference:.1e}, "
        f"{found.differing} of {found.elements} {kind.element}s get another label.",
        soft_wrap=True,
    )
    trust = ["--trust"] if arguments.out.suffix == PACKAGE else []
    OUT.print(
        f"next: {command_line('rangeseg', 'predict', arguments.out, 'SCANS', '--out', 'labels', *trust)}",
        soft_wrap=True,
    )


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
        help="output: NAME.onnx; NAME.pt2 for processors of this kind; or NAME.pt, a checkpoint",
    )
    parser.add_argument("--most", type=int, default=40, help="number of scans or photographs for the verification")
    parser.add_argument("--device", default="cpu", help="the device that will run NAME.pt2")
    add_trust(parser)
