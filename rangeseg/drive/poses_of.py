"""poses_of.json: the scans to which the poses in a folder belong.

The scans of all drives have the same names, 000000 and so on, so the names do not tell that poses are of another drive.
"""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

from rangeseg.drive.layouts import Drive
from rangeseg.files import plain_file, read_whole, write_atomically

FILE = "poses_of.json"

BYTES = 1 << 16
"""The first bytes of a scan that are compared."""


def write_poses_of(folder: Path, drive: Drive | None) -> None:
    """Record the scans of a drive in the folder of its poses; None: unknown scans, of a recording."""
    if drive is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    scans = {entry.name: _contents(entry.file) for entry in drive.scans}
    write_atomically(folder / FILE, json.dumps({"drive": drive.name, "scans": scans}, indent=0).encode())


def check_poses_of(folder: Path, drive: Drive) -> None:
    """Refuse poses of other scans. A folder without poses_of.json, for example of a dataset, is not checked.

    Raises:
        ValueError: the poses belong to other scans, or poses_of.json cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        record = json.loads(read_whole(path))
        known, other = dict(record["scans"]), str(record["drive"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}). Write the poses again with rangeseg poses.") from error
    common = [entry for entry in drive.scans if entry.name in known]
    some = {0, len(common) // 2, len(common) - 1} if common else set()
    if not any(_contents(common[k].file) == known[common[k].name] for k in some):
        raise ValueError(
            f"{folder}: holds the poses of other scans (drive {other}, {len(known)} scans), not of {drive.name} in "
            f"{drive.root}. Write its poses with rangeseg poses. If only the files were converted, remove {path}."
        )


def _contents(file: Path) -> str:
    """Size and checksum of the first bytes of a file."""
    with plain_file(file).open("rb") as content:
        return f"{file.stat().st_size}-{crc32(content.read(BYTES)):08x}"
