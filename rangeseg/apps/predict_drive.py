"""`rangeseg predict --drive`: labels the scans of a drive, each with the votes of the scans around it.

With `--carried`, labels that people gave or that poses carried replace predictions.

Each process of torchrun labels a part of the drive. As in `rangeseg predict`, complete files of the same network,
config, votes and poses are skipped, and a folder with files of others is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.apps.predict import ClassShares
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.request import poses_for
from rangeseg.drive.sweep import straightened
from rangeseg.drive.trajectory import Trajectory
from rangeseg.inference.carried import CarriedFolder
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.drive import label_drive
from rangeseg.inference.labelled_files import chosen_files
from rangeseg.inference.origin import claim, origin_of
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust


def predict_drive(
    run: Path | None, folder: Path, out: Path, *, poses: Path | None = None, scene: str | None = None,
    dataset: str | None = None, votes: int = 2, deskew: str | None = None, carried: Path | None = None,
    format: str = "label", confidence: bool = False, unsure: Sequence[str] = (), overwrite: bool = False,
    anyway: bool = False, workers: int | None = None, device: str = "auto", overrides: Sequence[str] = (),
    trust: Trust = False, progress: Progress = no_progress,
) -> Iterator[str]:  # fmt: skip
    """Label the scans of a drive and write the labels in the dataset's own form.

    Args:
        run: run folder or checkpoint; None: the network that ships with rangeseg.
        folder: folder of the drive, see `open_drive`.
        out: the output folder.
        poses: folder that `rangeseg poses` wrote; None: the poses of the dataset.
        scene: scene of nuScenes.
        dataset: dataset or YAML with the classes of the drive; None: found from the layout.
        votes: number of voting scans before and after each scan; 0: no votes.
        deskew: the moment of a sweep to which the poses refer, see `straightened`; None: no correction of motion.
        carried: folder that `rangeseg propagate` wrote; its labels replace predictions. None: predictions only.
        format: format of the files, one of `rangeseg.inference.labelled_files.FORMATS`.
        confidence: also write the confidence and the entropy of each label.
        unsure: least confidences; other labels are left out, see `rangeseg.inference.labelled_files.least_sure`.
        overwrite: write existing complete files again.
        anyway: accept that most scans do not fit the run.
        workers: number of threads besides the network; None: the default of the device.
        device: a torch device, or auto.
        overrides: `key.path=value` entries that override the run's config.
        trust: see `Run.load`.
        progress: shows the progress.

    Yields:
        Messages about what was done, in the first process only.

    Raises:
        ValueError: the run labels photographs, `votes` is negative, a file cannot be read, `out` has labels of another
            network, config, votes, poses or carried labels, `carried` has no labels of the drive or other classes, or
            most scans do not fit the run.
    """
    if votes < 0:
        raise ValueError(f"--votes is {votes}; give 0 or more.")
    group = ProcessGroup.init()
    try:
        segmenter = Segmenter.load(run, device=group.device(device), overrides=overrides, trust=trust)
        experiment = segmenter.run.experiment
        if experiment.dataset.kind != "scan":
            raise ValueError(f"{run}: labels {experiment.dataset.kind}s, but a drive consists of scans.")
        drive = open_drive(folder, scene=scene, dataset=dataset)
        known = None if carried is None else CarriedFolder.open(carried, drive, segmenter.label_map)
        trajectory, (files, least) = poses_for(drive, poses), chosen_files(experiment, format, confidence, unsure)
        origin = origin_of(run, segmenter.run.config, unsure) | _of_drive(trajectory, votes, deskew, known)
        targets = [(files.target(scan.file, scan.file.parent), scan.file) for scan in drive.scans]
        since = claim(out, origin, [target for target, _ in targets], overwrite=overwrite, write=group.rank == 0)
        share = np.array_split(np.arange(len(targets)), group.world_size)[group.rank].tolist()
        share = [i for i in share if overwrite or not _is_whole(out, targets[i], files, since)]
        options: dict[str, Any] = {"workers": segmenter.workers if workers is None else workers, "numbers": share}
        done: Any = label_drive(segmenter, straightened(drive, trajectory, deskew), trajectory, votes=votes, **options)
        shares = ClassShares(segmenter.label_map.names)
        for number, scan, found in done if group.rank else progress(done, "predicting", len(share)):
            kept, (target, file) = _kept(number, found, known, least), targets[number]
            files.write(out / target, kept if confidence or format != "label" else kept.labels, scan, file)
            shares.count(kept.labels)
        group.barrier()
        if group.rank == 0:
            by = f" by the first of {group.world_size} processes" if group.world_size > 1 else ""
            yield (
                f"{len(targets)} scans labelled below {out} ({len(share)} now{by}), each with votes of {votes} scans "
                f"before and {votes} after."
            )
            yield from chain(shares.words(), segmenter.domain_check.summary(anyway=anyway))
    finally:
        group.close()


def _kept(number: int, found: Segmentation, known: CarriedFolder | None, least: NDArray | None) -> Any:
    """The labels to write for a scan: carried labels replace predictions; then labels below `least` are left out."""
    found = found if known is None else known.replaced(number, found)
    return found if least is None else found.sure(least)


def _of_drive(trajectory: Trajectory, votes: int, deskew: str | None, known: CarriedFolder | None) -> dict[str, Any]:
    """The inputs that labels of a drive depend on, besides the network and its config, for `claim`."""
    poses = hashlib.sha256(np.ascontiguousarray(trajectory.poses, "<f8").tobytes()).hexdigest()
    found = {"drive.votes": votes, "drive.deskew": deskew, "drive.poses": poses if votes or deskew else None}
    return found | ({} if known is None else {"drive.carried": known.digest()})


def _is_whole(out: Path, task: tuple[Path, Path], files: PredictionFiles, since: int) -> bool:
    """Whether the label file of a scan exists, is of this network, and fits the scan."""
    path, file = out / task[0], task[1]
    return path.is_file() and path.stat().st_mtime_ns >= since and files.problem(path, file) is None
