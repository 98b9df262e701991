"""Labels from a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

FIRST = (
    "No run was given: the small network that ships with rangeseg answers. It has learnt from synthetic streets and "
    "unlabelled KITTI scans, and is often wrong (datasets/semantic_kitti/first_answer.md); train your own."
)
"""What is said where no run is named."""

EXAMPLES = (
    "rangeseg predict 000000.bin --out labels",
    "rangeseg predict runs/quick --split test --out predictions --zip submission.zip",
)


def run(arguments: argparse.Namespace) -> None:
    """Write labels for files, folders or a split, in the dataset's own form; under torchrun each process its share."""
    from rangeseg.apps.predict import predict_inputs
    from rangeseg.scan_io import READERS

    run, inputs = arguments.run, arguments.inputs
    if run.name.endswith(READERS):
        run, inputs = None, [run, *inputs]
        OUT.print(FIRST, soft_wrap=True)
    names = ("split", "zip", "partial", "overwrite", "workers", "device", "compile", "overrides")
    options = {name: getattr(arguments, name) for name in names}
    for line in predict_inputs(run, inputs, arguments.out, watch=progress, **options):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("run", type=Path, help="run folder, checkpoint or exported file; a scan: the shipped network")
    parser.add_argument("inputs", nargs="*", type=Path, help="files or folders of scans or photographs")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder of the labels")
    parser.add_argument("--split", help="all scans or photographs of a split")
    parser.add_argument("--zip", type=Path, help="pack the labels for the benchmark's server")
    parser.add_argument("--partial", action="store_true", help="pack a split that has not all of its official scans")
    parser.add_argument("--overwrite", action="store_true", help="write again what is there and whole")
    parser.add_argument(
        "--workers",
        type=int,
        help="threads: on a CPU for a scan each, on a GPU before it and behind it; see torchrun too",
    )
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    parser.add_argument("--compile", action="store_true", help="by torch.compile: worth its half minute on many scans")
