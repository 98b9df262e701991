"""Offline pseudo-labels of a trained network, balanced over classes and distances.

Near roads and cars get the most confident predictions, so a common threshold would label little else. Instead, over all
scans, the most confident share of the points with class c in annulus r is kept:

    k(c, r) = (1 - keep) quantile of the confidences of points with label c in annulus r   kept: confidence >= k(c, r)

A minimum confidence t(c) of each class may also be given; k(c, r) is then at least t(c). With keep 1, only t(c) counts.

Shapes: N points, K classes, A annuli.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rangeseg.data.dataset import ScanDataset
from rangeseg.data.lists import keep_listed
from rangeseg.data.semantic_kitti import read_list
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.drive.request import poses_folder, poses_for
from rangeseg.drive.trajectory import Trajectory
from rangeseg.engine.experiment import ALL, Experiment
from rangeseg.engine.training_data import NOTHING
from rangeseg.files import write_atomically
from rangeseg.inference.drive import ScanProbabilities, label_pooled, pool_drive
from rangeseg.inference.segmentation import Segmentation
from rangeseg.inference.segmenter import Segmenter
from rangeseg.parallel import Progress, in_order, no_progress
from rangeseg.paths import absolute
from rangeseg.projection.range_image import RangeImage
from rangeseg.scan_io import write_labels
from rangeseg.types import IGNORE

BINS = 1000
"""Number of bins of the confidence histogram; thresholds are exact to 0.001."""


@dataclass(frozen=True)
class Balance:
    """The share of pseudo-labels that is kept.

    Args:
        keep: share of the points of each class in each annulus.
        annuli: number of annuli around the sensor; the last one is unbounded.
        width_m: width of an annulus on the ground, metres.

    Raises:
        ValueError: a share outside (0, 1], or no annuli.

    Source:
        Unal et al., ScribbleKITTI, CVPR 2022 (class-range-balanced self-training); LiM3D, CVPR 2023: ten annuli of 5 m.
    """

    keep: float = 0.5
    annuli: int = 10
    width_m: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"Pseudo-labels got keep={self.keep}; give a share in (0, 1].")
        if not 1 <= self.annuli <= IGNORE:
            raise ValueError(f"Pseudo-labels got annuli={self.annuli}; give 1 to {IGNORE}, usually 10.")
        if not self.width_m > 0:
            raise ValueError(f"Pseudo-labels got annuli of {self.width_m} m; give a width above 0, usually 5.")

    def annulus(self, xyz: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(N, 3) metres -> (N,) annulus of each point; invalid points are in the first."""
        metres = np.nan_to_num(np.hypot(xyz[:, 0], xyz[:, 1]), posinf=0)
        return np.minimum(metres // self.width_m, self.annuli - 1).astype(np.uint8)

    def thresholds(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K, A, BINS) histogram of confidences -> (K, A) the first bin that is kept.

        Bins are kept completely, so at least the share `keep` is kept. Without points, the result is BINS.
        """
        from_above = counts[..., ::-1].cumsum(-1)[..., ::-1]
        total = from_above[..., :1]
        bins = (from_above >= self.keep * total).sum(-1) - 1
        return np.where(total[..., 0] > 0, bins, BINS)


@dataclass(frozen=True)
class Votes:
    """Replaces the probabilities of a scan by mean probabilities over neighbouring scans.

    Args:
        count: number of scans before, and of scans after, that contribute.
        poses: folder with one folder per drive, named as the drive, that `rangeseg poses` wrote, or, for a single
            drive, such a folder; None: the poses of the dataset.
    """

    count: int
    poses: Path | None = None

    def poses_of(self, drive: Drive, drives: int) -> Trajectory:
        """The poses of all scans of a drive.

        Args:
            drive: the drive.
            drives: number of drives with scans to label.

        Raises:
            ValueError: there are no poses, or some scans have none.
        """
        return poses_for(drive, poses_folder(self.poses, drive, drives))


Answer = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]
"""(N,) train ids, annuli, and bins of confidence."""


def true_labels(experiment: Experiment, split: str, leave_out: str | None) -> tuple[str, ...]:
    """The scans that get no pseudo-labels, because people labelled them.

    Args:
        experiment: the experiment of the run.
        split: the split that gets pseudo-labels.
        leave_out: a list file, or ``none``; None: the scans of `data.labelled`, if it is a list or `with_labels`.

    Returns:
        Names of scans.

    Raises:
        ValueError: the list cannot be read, or its scans, or those of `data.labelled`, do not exist.
    """
    listed = experiment.config.data.labelled
    if leave_out is not None and leave_out != NOTHING:
        names, cure = experiment.open(split, labels=False).names, f"Names look like those of the split {split}."
        return tuple(keep_listed(names, read_list(leave_out), leave_out, what="scan", cure=cure))
    if leave_out is not None or split != "train" or listed in (ALL, NOTHING):
        return ()
    try:
        return experiment.open(split, listed, labels=False).names
    except ValueError as error:
        raise ValueError(
            f"{error} The scans of data.labelled={listed} get no pseudo-labels. Name other ones with --leave-out FILE, "
            "or none with --leave-out none."
        ) from error


def pseudo_label(
    segmenter: Segmenter,
    source: Any,
    out: Path,
    balance: Balance | None = None,
    *,
    least: ArrayLike = 0.0,
    leave_out: Iterable[str] = (),
    votes: Votes | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Write the balanced pseudo-labels of a source's scans, and the list of these scans.

    OUT/sequences/SS/predictions/FFFFFF.label    raw ids; unlabelled for points that are not kept
    OUT/scans.txt                                the names of the scans

    The labels that an earlier scans.txt lists are removed.

    Args:
        segmenter: the run.
        source: scans named ``SS/FFFFFF``; labels are not read.
        out: the output folder.
        balance: the share that is kept; None: the default.
        least: least confidence of a kept label, or (K,) one per class; exact to 1 / `BINS`.
        leave_out: names of scans or of whole sequences that get no pseudo-labels, because they have true labels.
        votes: parameters of the votes; None: each scan is predicted alone.
        workers: number of threads, each with one scan.
        progress: shows the progress.

    Returns:
        Class -> share of all points with a kept label of this class.

    Raises:
        ValueError: nothing is left to label.
    """
    balance, left_out = balance or Balance(), set(leave_out)
    names = [source.name(index) for index in range(len(source))]
    wanted = [i for i, name in enumerate(names) if not {name, name.rpartition("/")[0]} & left_out]
    if not wanted:
        raise ValueError("No scan is left to label. Use a larger --subset, a shorter --leave-out list, or none.")
    label_map, answers = segmenter.label_map, out / "answers"
    counts = np.zeros((label_map.num_classes, balance.annuli, BINS), np.int64)
    if votes is None:
        predicted = in_order(partial(_predict, segmenter, source, balance), wanted, workers=workers)
    else:
        predicted = _predict_along(segmenter, source, balance, wanted, votes, workers)
    for index, (label, annulus, sure) in zip(wanted, progress(predicted, "predicting", len(wanted)), strict=True):
        labelled = label != IGNORE
        np.add.at(counts, (label[labelled], annulus[labelled], sure[labelled]), 1)
        _keep_answer(answers / f"{source.name(index)}.npz", label, annulus, sure)
    needed = np.ceil(np.broadcast_to(np.asarray(least, np.float64), len(counts)) * BINS - 1e-4)
    bins = np.maximum(balance.thresholds(counts), needed.astype(np.int64)[:, None])
    names = [source.name(index) for index in wanted]
    kept, points = _write(segmenter, out, names, bins, progress)
    return {name: float(count / points) for name, count in zip(label_map.names, kept, strict=True)}


def _write(
    segmenter: Segmenter, out: Path, names: Sequence[str], bins: NDArray[np.int64], progress: Progress
) -> tuple[NDArray[np.int64], int]:
    """Write the kept labels and the list of scans; returns (K,) numbers of kept points, and the number of points."""
    label_map, answers = segmenter.label_map, out / "answers"
    _remove_earlier(out)
    kept, points = np.zeros(label_map.num_classes, np.int64), 0
    for name in progress(names, "writing", len(names)):
        with np.load(answers / f"{name}.npz") as answer:
            label, annulus, sure = answer["label"], answer["annulus"], answer["sure"]
        known = label != IGNORE
        known[known] = sure[known] >= bins[label[known], annulus[known]]
        label[~known] = IGNORE
        kept += np.bincount(label[known], minlength=len(kept))
        points += len(label)
        write_labels(_label_file(out, name), label_map.to_raw(label))
    write_atomically(out / "scans.txt", "".join(f"{name}\n" for name in names).encode())
    shutil.rmtree(answers)
    return kept, points


def _label_file(out: Path, name: str) -> Path:
    sequence, _, frame = name.rpartition("/")
    return out / "sequences" / sequence / "predictions" / f"{frame}.label"


def _remove_earlier(out: Path) -> None:
    """Remove the labels of an earlier call, and then its list."""
    if (listed := out / "scans.txt").is_file():
        for name in read_list(listed):
            _label_file(out, name).unlink(missing_ok=True)
        listed.unlink()


def _predict(segmenter: Segmenter, source: Any, balance: Balance, index: int) -> Answer:
    """The predictions of one scan, without votes."""
    image = cast(RangeImage, segmenter.project(source.scan(index)))
    return _answer(balance, image, segmenter.segmentation(image, segmenter.logits(image), entropy=False))


def _predict_along(
    segmenter: Segmenter, source: ScanDataset, balance: Balance, wanted: Sequence[int], votes: Votes, workers: int
) -> Iterator[Answer]:
    """The predictions of scans with votes of their neighbours, drive after drive."""

    def use(scan: ScanProbabilities, probability: NDArray) -> Answer:
        return _answer(balance, scan.image, label_pooled(segmenter, scan, probability))

    files = [absolute(source.scan_path(index)) for index in wanted]
    drives = len({file.parent.parent for file in files})
    for folder, together in groupby(files, lambda file: file.parent.parent):
        drive = replace(open_drive(folder), read=partial(source.read, **source.read_by()))
        place = {scan.file: number for number, scan in enumerate(drive.scans)}
        numbers = [place[file] for file in together]
        poses = votes.poses_of(drive, drives)
        yield from pool_drive(segmenter, drive, poses, numbers, use, votes.count, workers=workers)


def _answer(balance: Balance, image: RangeImage, found: Segmentation) -> Answer:
    """For each point: its label, its annulus around the sensor, and the bin of its confidence."""
    sure = np.minimum(np.asarray(found.confidence) * BINS, BINS - 1).astype(np.uint16)
    return found.labels, balance.annulus(image.scan.xyz), sure


def _keep_answer(path: Path, label: NDArray[Any], annulus: NDArray[Any], sure: NDArray[Any]) -> None:
    def write(file: BinaryIO) -> None:
        np.savez(file, label=label, annulus=annulus, sure=sure)

    write_atomically(path, write)
