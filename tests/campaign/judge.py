"""What a command did with a damaged file, and whether it may."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.warm import Outcome

MARKER = ".predicted_"
PYTHON_WARNING = re.compile(r"\.py:\d+: \w*Warning")
LIBRARY = re.compile(r"Traceback \(most recent|panicked at|Segmentation fault|core dumped|\*\*\* Error in")


@dataclass(frozen=True)
class Verdict:
    """One of refused, warned, same, plausible; or a fault: traceback, silent, half file, unnamed, hang, crash, memory.

    Args:
        kind: of these.
        words: of a fault, what there was to see.
    """

    kind: str
    words: str = ""

    @property
    def is_fault(self) -> bool:
        """It must not be."""
        return self.kind not in ("refused", "warned", "same", "plausible")


def digest(out: Path, case: Path) -> dict[str, str]:
    """File -> hash of its content; the paths of the case do not count."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith(MARKER))
    return {path.relative_to(out).as_posix(): content_of(path, case) for path in files}


def content_of(path: Path, case: Path) -> str:
    """A hash of what a file says; of a checkpoint its tensors, since its config names the case's paths."""
    if path.suffix == ".pt":
        from rangeseg.files import load_tensors

        parts = sorted((name, value) for name, value in _leaves(load_tensors(path)) if hasattr(value, "numpy"))
        told = b"".join(name.encode() + value.cpu().float().numpy().tobytes() for name, value in parts)
    elif path.suffix == ".zip":  # which has the times of its files
        with zipfile.ZipFile(path) as archive:
            told = repr([(entry.filename, entry.CRC) for entry in archive.infolist()]).encode()
    else:
        told = path.read_bytes().replace(str(case).encode(), b"")
    return hashlib.sha256(told).hexdigest()


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, within in value.items() for leaf in _leaves(within, f"{name}.{key}")]
    return [(name, value)]


def notices(err: str, case: Path) -> set[str]:
    """The warnings, without numbers, so that other values do not make them other warnings."""
    lines = (line for line in err.replace(str(case), "").splitlines() if line.startswith("warning: "))
    return {re.sub(r"[\d.,]+", "N", line) for line in lines}


def judge(
    outcome: Outcome, wrote: dict[str, str], told: set[str], whole: tuple[dict[str, str], set[str]], *, name: str,
    also: str, strict: bool, broken: str = "",
) -> Verdict:  # fmt: skip
    """Judge one case.

    Args:
        outcome: of the command.
        wrote: `digest` of its output.
        told: its `notices`.
        whole: the same two of the undamaged file.
        name: of the damaged file; an error must name it.
        also: or say this, see `Route`.
        strict: another result must not pass in silence.
        broken: a file of the output that is not whole; one that was written before the damage was met may say
            something else, since the error is told.
    """
    tail = outcome.err[-700:]
    if outcome.code not in (0, 1) or LIBRARY.search(outcome.err):
        return Verdict("traceback", tail)
    if found := PYTHON_WARNING.search(outcome.err):
        return Verdict("foreign warning", outcome.err[max(0, found.start() - 300) : found.end() + 300])
    if left := [path for path in wrote if Path(path).name.startswith(".rangeseg-")]:
        return Verdict("half file", " ".join(left))
    others = {path: content for path, content in wrote.items() if whole[0].get(path) != content}
    others = {path: content for path, content in others.items() if Path(path).name != "unpacked.json"}  # has the size
    if outcome.code == 1:
        if "error: " not in outcome.err or not (name in outcome.err or re.search(also, outcome.err)):
            return Verdict("unnamed", tail)
        return Verdict("half file", broken) if broken else Verdict("refused")
    if not others and wrote.keys() == whole[0].keys():
        return Verdict("same")
    if told - whole[1]:
        return Verdict("warned", " ".join(sorted(told - whole[1])))
    return Verdict("silent", f"{outcome.out[-300:]} {tail}") if strict else Verdict("plausible")
