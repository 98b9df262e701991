"""Records of what the predictions in an output folder were made from, so that only those of the same input are kept.

OUT/.predicted_from_RANK.jsonl has one line for each prediction, appended after its files were written:

    {"target": "0.label", "from": digest, "files": {"0.label": [bytes, nanoseconds]}, "misfit": "", "again": false}

`from` is a digest of `origin_of` and of the path, size and time of each input file. `files` are the written files with
their size and time, so that a record does not describe files that were written later. `misfit` is from `DomainCheck`.
Before a prediction that has a record is made again, a line with empty `files` is appended, and its new record has
"again": after a kill between the two, the files are of no record, but no person has corrected them. Each process
appends to its own file. A prediction without a complete record is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.data.pandaset import poses_file
from rangeseg.data.prediction_files import PredictionFiles
from rangeseg.data.semantic_poss import tag_file
from rangeseg.files import read_whole
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.inference.domain_check import DomainCheck
from rangeseg.inference.labelled_files import outputs
from rangeseg.inference.origin import claim, origin_of
from rangeseg.inference.segmenter import Segmenter

PREFIX = ".predicted_from_"
ALONE = ProcessGroup()


@dataclass(frozen=True)
class Record:
    """One line of a record file.

    Args:
        made_from: digest of the network, the config and the inputs.
        files: name of each written file -> its size in bytes and its time in nanoseconds.
        misfit: reasons why the scan does not fit the run; empty if it fits, None if it was not checked.
        again: an older record existed.
    """

    made_from: str
    files: Mapping[str, tuple[int, int]]
    misfit: str | None
    again: bool = False


class Records:
    """The records of an output folder, for the predictions of one call.

    Args:
        out: the output folder.
        origin: result of `origin_of`.
        inputs: path of each prediction, relative to `out` -> the files that it is made from; the labelled one first.
        files: the prediction files.
        check: holds the misfits of the scans that this process labels, and gets those of earlier calls.
        overwrite: make all predictions again.
        rank: number of this process.

    Raises:
        ValueError: a prediction would overwrite an input.
    """

    def __init__(
        self, out: Path, origin: Mapping[str, Any], inputs: Mapping[Path, Sequence[Path]], files: PredictionFiles,
        check: DomainCheck, *, overwrite: bool = False, rank: int = 0,
    ) -> None:  # fmt: skip
        self._out, self._inputs, self._files, self._check = out, inputs, files, check
        self._overwrite, self._path, self._lock = overwrite, out / f"{PREFIX}{rank}.jsonl", Lock()
        self._origin = json.dumps({key: value for key, value in origin.items() if key != "checkpoint"}, sort_keys=True)
        self._known = _read_records(out)
        self._states: dict[Path, str] = {}
        self._real: dict[str, str] = {}
        self._folders: dict[str, tuple[tuple[int, int] | None, bool]] = {}
        self._made_from: dict[Path, str] = {}
        self._misfits: dict[Path, str] = {}
        own = {self._place(out / path): path for target in inputs for path in outputs(files, target)}
        used = {self._place(of[0]) for of in inputs.values()}
        if lost := used & own.keys():
            path = min(lost)
            raise ValueError(f"{path}: is an input, and would be overwritten by its labels. Choose another --out.")
        self._others = used | own.keys()

    @staticmethod
    def claim(
        run: Path | None, segmenter: Segmenter, out: Path, inputs: Mapping[Path, Sequence[Path]],
        files: PredictionFiles, *, unsure: Sequence[str] = (), of_drive: Mapping[str, Any] | None = None,
        overwrite: bool = False, group: ProcessGroup = ALONE,
    ) -> Records:  # fmt: skip
        """The records of a folder after `rangeseg.inference.origin.claim`, when all processes have called this.

        Args:
            run: argument of `Run.load`.
            segmenter: the loaded run.
            out: the output folder.
            inputs: see `Records`.
            files: the prediction files.
            unsure: argument of `origin_of`.
            of_drive: argument of `rangeseg.inference.origin.claim`.
            overwrite: make all predictions again, also those of other networks.
            group: the processes that share the work.

        Raises:
            ValueError: as `Records` and `rangeseg.inference.origin.claim`.
        """
        origin, of_drive = origin_of(run, segmenter.run, unsure), of_drive or {}
        records = Records(
            out, origin | dict(of_drive), inputs, files, segmenter.domain_check, overwrite=overwrite, rank=group.rank
        )
        claim(out, origin, inputs, of_drive, overwrite=overwrite, write=group.rank == 0)
        group.barrier()  # the labels of another process would be those of an unknown network
        return records

    def is_finished(self, target: Path) -> bool:
        """Whether a prediction is complete and was made from the same input by the same network and config.

        A person may have corrected it since. Call this before the input is read, because it notes the size and time of
        the input for `writing`.
        """
        inputs, path = self._inputs[target], self._out / target
        made_from = self._made_from[target] = self._digest(inputs)
        known = self._known.get(_stem(target.as_posix()), [])
        if self._overwrite or not any(one.made_from == made_from for one in known):
            return False
        files = {one.name: _state(self._out / one) for one in outputs(self._files, target)}
        found = [one for one in known if files.items() <= one.files.items()]
        killed = sum(not one.files for one in known) > sum(one.again for one in known)
        if not found and not killed:  # corrected or copied since
            found = [max(known, key=lambda one: one.files.get(path.name, (0, 0))[1])]
        for record in found:
            same = record.made_from == made_from and record.files.keys() >= files.keys()
            if same and self._files.problem(path, inputs[0]) is None:
                self._note(target, record.misfit)
                return True
        return False

    @contextmanager
    def writing(self, target: Path, where: str) -> Iterator[None]:
        """Within the block, the files of a prediction are written. Stale files beside it are removed.

        Args:
            target: relative to the output folder, one for which `is_finished` was called.
            where: `where` of the scan or photograph.
        """
        path, written = self._out / target, outputs(self._files, target)
        if again := _stem(target.as_posix()) in self._known:
            self._append(target, {}, None)
        self._remove_stale(target, {path.name for path in written})
        yield
        misfit = self._check.misfit(where)
        if misfit is not None:
            self._misfits[target] = misfit
        self._append(target, {one.name: _state(path.with_name(one.name)) for one in written}, misfit, again)

    def counts(self) -> NDArray[np.int64]:
        """(2,) the number of scans of this process that do not fit the run, and of all that were checked."""
        return np.array([sum(map(bool, self._misfits.values())), len(self._misfits)], np.int64)

    def _note(self, target: Path, misfit: str | None) -> None:
        if misfit is not None:
            self._misfits[target] = misfit
            self._check.note(str(self._inputs[target][0]), misfit)

    def _append(self, target: Path, files: Mapping[str, Any], misfit: str | None, again: bool = False) -> None:
        line = {"target": target.as_posix(), "from": self._made_from[target], "files": files, "misfit": misfit}
        with self._lock, self._path.open("ab") as file:
            file.write(b"\n" + json.dumps(line | {"again": again}).encode())  # a line that a kill cut off stays alone

    def _remove_stale(self, target: Path, written: set[str]) -> None:
        """Remove other files of the same name that rangeseg wrote, if they are of another input or network.

        With `overwrite`, those of the same are removed, too. Files that were changed since stay.
        """
        for record in self._known.get(_stem(target.as_posix()), ()):
            if self._overwrite or record.made_from != self._made_from[target]:
                for name, state in record.files.items():
                    path = (self._out / target).with_name(name)
                    if name not in written and self._place(path) not in self._others and _state(path) == state:
                        path.unlink()

    def _digest(self, inputs: Sequence[Path]) -> str:
        found = [self._input(file) for file in inputs]
        return hashlib.sha256(f"{self._origin}{found}".encode()).hexdigest()[:32]

    def _input(self, file: Path) -> str:
        """Path, size and time of an input file, and of the files that its dataset reads with it, at the first call."""
        if file not in self._states:
            path = self._place(file)
            real = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 - many paths
            folder = os.path.dirname(path)  # noqa: PTH120 - many paths
            if folder not in self._folders:
                self._folders[folder] = (_state(poses_file(file)), tag_file(file).parent.is_dir())
            poses, tags = self._folders[folder]
            self._states[file] = f"{real} {_state(real)} {poses} {_state(tag_file(file)) if tags else None}"
        return self._states[file]

    def _place(self, path: Path) -> str:
        """The absolute path, with the links of its folder followed."""
        folder, name = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return os.path.join(self._real[folder], name)  # noqa: PTH118 - many paths


def _read_records(out: Path) -> dict[str, list[Record]]:
    """The records of an output folder, by the path of the prediction without its suffix; damaged lines are left out."""
    known: defaultdict[str, list[Record]] = defaultdict(list)
    for path in sorted(out.glob(f"{PREFIX}*.jsonl")):
        for line in read_whole(path).splitlines():
            try:
                entry = json.loads(line)
                files = {name: (int(size), int(time)) for name, (size, time) in entry["files"].items()}
                misfit = None if entry["misfit"] is None else str(entry["misfit"])
                if all(os.path.basename(name) == name for name in files):  # noqa: PTH119 - many names
                    again = entry["again"] is True
                    known[_stem(entry["target"])].append(Record(str(entry["from"]), files, misfit, again))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    return dict(known)


def _stem(target: str) -> str:
    return os.path.splitext(target)[0]  # noqa: PTH122 - many paths


def _state(path: str | Path) -> tuple[int, int] | None:
    """Size in bytes and time in nanoseconds; None if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - many paths
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
