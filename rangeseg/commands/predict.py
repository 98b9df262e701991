"""Labels from a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

from rangeseg.commands.console import OUT


def run(arguments: argparse.Namespace) -> None:
    """Write labels for files, folders or a split, in the dataset's own form."""
    from rangeseg.engine.experiment import modality, open_source
    from rangeseg.engine.predict import check_predictions, find_tasks, write_zip
    from rangeseg.engine.predict import predict as work
    from rangeseg.engine.segmenter import Segmenter

    segmenter = Segmenter.load(arguments.run, device=arguments.device, overrides=arguments.overrides)
    kind = modality(segmenter.run.config)
    files = kind.files(segmenter.label_map)
    inputs = list(arguments.inputs)
    if arguments.split:
        inputs += files.of_split(open_source(segmenter.run.config, arguments.split, labels=False))
    if not inputs:
        raise ValueError(f"There is nothing to predict. Give files or folders of {kind.things}, or --split test.")
    tasks = find_tasks(inputs, files)
    written = 0
    for _, new in track(
        work(segmenter, files, tasks, arguments.out, overwrite=arguments.overwrite), "predicting", total=len(tasks)
    ):
        written += new
    if problems := check_predictions(tasks, arguments.out, files):
        raise ValueError(f"Predictions do not fit their {kind.things}:\n" + "\n".join(problems))
    OUT.print(
        f"{len(tasks)} {kind.things} labelled below {arguments.out} ({written} now); counts and values checked.",
        soft_wrap=True,
    )
    if arguments.zip:
        write_zip(arguments.out, tasks, arguments.zip)
        OUT.print(f"submission: {arguments.zip}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("run", type=Path, help="run folder, checkpoint or exported file")
    parser.add_argument("inputs", nargs="*", type=Path, help="files or folders of scans or photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", help="all scans or photographs of a split")
    parser.add_argument("--zip", type=Path, help="pack the labels for the benchmark's server")
    parser.add_argument("--overwrite", action="store_true", help="write again what is there and whole")
    parser.add_argument("--device", default="auto")
