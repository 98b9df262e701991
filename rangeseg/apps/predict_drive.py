"""`rangeseg predict --drive`: labels the scans of a drive, each with the votes of the scans around it.

With `--carried`, labels that people gave or that poses carried replace predictions.

Each process of torchrun labels a part of the drive. As in `rangeseg predict`, complete files of the same scans,
network, config, votes and poses are skipped, and a folder with files of another network, config, votes or poses is an
error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.apps.predict import ClassShares
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.drive.layouts import Drive, has_fixed_columns, open_drive
from rangeseg.drive.request import poses_for
from rangeseg.drive.sweep import straightened
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.experiment import Experiment
from rangeseg.inference.carried import CarriedFolder
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.domain_check import misfit_summary
from rangeseg.inference.drive import label_drive, read_as
from rangeseg.inference.labelled_files import chosen_files
from rangeseg.inference.records import Records
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.labels import LabelMap
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
        run: run folder or checkpoint; None: the default network, `any-lidar`.
        folder: folder of the drive, see `open_drive`.
        out: the output folder.
        poses: folder that `rangeseg poses` wrote; None: the poses of the dataset.
        scene: scene of nuScenes.
        dataset: dataset or YAML with the classes of the drive; None: found from the layout. If the network has the same
            classes, labels are written with its raw ids.
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
        drive, own = _open(experiment, folder, scene, dataset), segmenter.label_map
        trajectory, classes = poses_for(drive, poses), _classes(own, drive, dataset)
        known = None if carried is None else CarriedFolder.open(carried, drive, own, chosen=bool(dataset))
        files, least = chosen_files(experiment, format, confidence, unsure, classes)
        inputs, of_drive = _inputs_of(drive, files, votes), _of_drive(trajectory, votes, deskew, known, classes)
        whose: dict[str, Any] = {"unsure": unsure, "of_drive": of_drive, "overwrite": overwrite, "group": group}
        records, targets = Records.claim(run, segmenter, out, inputs, files, **whose), list(inputs)
        share = np.array_split(np.arange(len(targets)), group.world_size)[group.rank].tolist()
        share = [number for number in share if not records.is_finished(targets[number])]
        options: dict[str, Any] = {"workers": segmenter.workers if workers is None else workers, "numbers": share}
        done: Any = label_drive(segmenter, straightened(drive, trajectory, deskew), trajectory, votes=votes, **options)
        shares, whole = ClassShares(own.names), confidence or format != "label"
        for number, scan, found in done if group.rank else progress(done, "predicting", len(share)):
            kept, target = _kept(number, replace(found, label_map=classes or own), known, least), targets[number]
            with records.writing(target, scan.where):
                files.write(out / target, kept if whole else kept.labels, scan, inputs[target][0])
            shares.count(kept.labels)
        misfits = group.all_reduce(records.counts())  # waits for all processes
        if group.rank == 0:
            now = f"({len(share)} of them now{group.scope})"
            each = f"each with votes of {votes} scans before and {votes} after"
            yield f"{len(targets)} scans labelled below {out} {now}, {each}."
            yield from chain(shares.words(), misfit_summary(*misfits.tolist(), anyway=anyway))
    finally:
        group.close()


def _open(experiment: Experiment, folder: Path, scene: str | None, dataset: str | None) -> Drive:
    """A drive whose scans are read as `predict` reads files: by the run's dataset, with the columns of its config.

    The columns of PandaSet and nuScenes are fixed, so their scans are read as usual.
    """
    if has_fixed_columns(folder):
        return open_drive(folder, scene=scene, dataset=dataset)
    fields = experiment.config.data.dataset.get("fields")
    return read_as(experiment, open_drive(folder, scene=scene, dataset=dataset, fields=fields))


def _classes(own: LabelMap, drive: Drive, dataset: str | None) -> LabelMap | None:
    """The user's classes of the drive, if only their raw ids differ from those of the network; they are written."""
    found = drive.label_map
    return found if dataset and found.names == own.names and found.raw_ids != own.raw_ids else None


def _kept(number: int, found: Segmentation, known: CarriedFolder | None, least: NDArray | None) -> Any:
    """The labels to write for a scan: carried labels replace predictions; then labels below `least` are left out."""
    found = found if known is None else known.replaced(number, found)
    return found if least is None else found.sure(least)


def _of_drive(
    trajectory: Trajectory, votes: int, deskew: str | None, known: CarriedFolder | None, classes: LabelMap | None
) -> dict[str, Any]:
    """The inputs that labels of a drive depend on, besides the network and its config, for `claim`."""
    used = trajectory.digest(times=bool(deskew)) if votes or deskew else None
    found = {"drive.votes": votes, "drive.deskew": deskew, "drive.poses": used}
    found |= {} if known is None else {"drive.carried": known.digest()}
    return found | ({} if classes is None else {"drive.raw_ids": list(classes.raw_ids)})


def _inputs_of(drive: Drive, files: PredictionFiles, votes: int) -> dict[Path, list[Path]]:
    """Path of the labels of each scan, below the output folder -> its file, and those of the scans that vote."""
    scans = [scan.file for scan in drive.scans]
    return {
        files.target(file, file.parent): [file, *scans[max(0, number - votes) : number + votes + 1]]
        for number, file in enumerate(scans)
    }
