"""`rangeseg corrected`: read corrected pre-labels back as labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rangeseg.drive.corrections import read_corrected, read_done, write_true
from rangeseg.drive.layouts import open_drive
from rangeseg.drive.prelabels import read_record


def run_corrected(folder: Path, out: Path, *, done: Sequence[str] = (), drive: Path | None = None) -> Iterator[str]:
    """Read corrected pre-labels, and write those that count in the dataset's layout.

    Args:
        folder: that `rangeseg suggest --prelabel` wrote.
        out: folder of labels, which may be the dataset's own; existing labels stay unless a new label replaces them.
        done: names of completely checked scans, or all; in addition to those in the folder's done.txt.
        drive: folder of the drive; None: the folder from which the pre-labels were made.

    Yields:
        One message per scan, then a summary.

    Raises:
        ValueError: a file cannot be read or belongs to another scan, or `out` is `folder`.
    """
    record = read_record(folder)
    place = Path(drive or str(record.get("drive")))
    opened = open_drive(place, scene=record.get("scene"), dataset=record.get("dataset"))
    if out.resolve() == folder.resolve():
        raise ValueError(f"{out}: is the folder of the pre-labels. Give another output folder.")
    finished, scans, points, counted = read_done(folder, done), 0, 0, False
    for one in read_corrected(folder, opened, finished):
        known = write_true(opened, out, one)
        scans, points, counted = scans + (known > 0), points + known, counted or bool(one.true.any())
        kind = "completely checked" if one.done else "only changed points count"
        yield f"{one.entry.name}: {one.changed:,} points changed, {kind}; {known:,} of {len(one.label):,} have a label"
    yield f"{scans} scans have labels below {out}, {points:,} points"
    if not counted:
        yield f"No label was changed, and neither {folder / 'done.txt'} nor --done names a scan."
