"""`rangeseg predict --drive`: the scans of a drive labelled, each with the votes of those around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rangeseg.drive.layouts import open_drive
from rangeseg.drive.request import poses_for
from rangeseg.drive.sweep import straightened
from rangeseg.inference.drive import label_drive
from rangeseg.inference.segmenter import Segmenter
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust


def predict_drive(
    run: Path | None, folder: Path, out: Path, *, poses: Path | None = None, scene: str | None = None, votes: int = 2,
    deskew: str | None = None, workers: int | None = None, device: str = "auto", overrides: Sequence[str] = (),
    trust: Trust = False, progress: Progress = no_progress,
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
    trajectory, files = poses_for(drive, poses), experiment.prediction_files
    drive = straightened(drive, trajectory, deskew)
    workers = segmenter.workers if workers is None else workers
    done = label_drive(segmenter, drive, trajectory, votes=votes, workers=workers)
    for number, scan, labels in progress(done, "predicting", len(drive.scans)):
        file = drive.scans[number].file
        files.write(out / files.target(file, file.parent), labels, scan, file)
    yield f"{len(drive.scans)} scans labelled below {out}, each with votes of {votes} scans before and {votes} after."
