"""`rangeseg predict --drive`: the scans of a drive labelled, each with the votes of those around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rangeseg.drive.layouts import open_drive
from rangeseg.drive.request import poses_for
from rangeseg.drive.sweep import straightened
from rangeseg.inference.drive import label_drive
from rangeseg.inference.labelled_files import chosen_files
from rangeseg.inference.segmenter import Segmenter
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust


def predict_drive(
    run: Path | None, folder: Path, out: Path, *, poses: Path | None = None, scene: str | None = None, votes: int = 2,
    deskew: str | None = None, format: str = "label", confidence: bool = False, unsure: Sequence[str] = (),
    workers: int | None = None, device: str = "auto", overrides: Sequence[str] = (), trust: Trust = False,
    progress: Progress = no_progress,
) -> Iterator[str]:  # fmt: skip
    """Label the scans of a drive and write the labels in the dataset's own form.

    Args:
        run: run folder or checkpoint; None: the network that ships with rangeseg.
        folder: of the drive, as `open_drive` takes it.
        out: the output folder.
        poses: folder that `rangeseg poses` wrote; None: the dataset's own.
        scene: of nuScenes.
        deskew: the moment of a sweep at which the poses are; None: scans are taken as they are.
        votes: so many scans before and behind help.
        format: of the files, one of `rangeseg.inference.labelled_files.FORMATS`.
        confidence: write how sure each label is, too.
        unsure: labels that are less sure are left out, see `rangeseg.inference.labelled_files.least_sure`.
        workers: threads beside the network; None: as suits the device.
        device: a torch device, or auto.
        overrides: `key.path=value` above the run's config.
        trust: of the run, see `Run.load`.
        progress: shows the progress.

    Yields:
        What was done, in words.

    Raises:
        ValueError: the run is of photographs, or a file cannot be read.
    """
    if votes < 0:
        raise ValueError(f"--votes is {votes}; give 0 or more.")
    segmenter = Segmenter.load(run, device=device, overrides=overrides, trust=trust)
    experiment = segmenter.run.experiment
    if experiment.dataset.kind != "scan":
        raise ValueError(f"{run}: labels {experiment.dataset.kind}s, but a drive consists of scans.")
    drive = open_drive(folder, scene=scene)
    trajectory, (files, least) = poses_for(drive, poses), chosen_files(experiment, format, confidence, unsure)
    drive = straightened(drive, trajectory, deskew)
    workers = segmenter.workers if workers is None else workers
    done = label_drive(segmenter, drive, trajectory, votes=votes, workers=workers)
    for number, scan, found in progress(done, "predicting", len(drive.scans)):
        file = drive.scans[number].file
        kept = found if least is None else found.sure(least)
        labels: Any = kept if confidence or format != "label" else kept.labels
        files.write(out / files.target(file, file.parent), labels, scan, file)
    yield f"{len(drive.scans)} scans labelled below {out}, each with votes of {votes} scans before and {votes} after."
