"""What commands say, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

OUT = Console(highlight=False, markup=False)


def progress(items: Iterable, words: str, total: int | None) -> Iterable:
    """The same items, with a bar on standard error.

    Args:
        items: in any number.
        words: what is being done.
        total: how many items there will be, if that is known.
    """
    return track(items, words, total=total, console=Console(stderr=True))


def print_report(result: dict[str, Any], title: str, *, official: bool) -> None:
    """Per class, by distance, and the means."""
    table = Table("class", "IoU %", title=title)
    for name, value in result["iou"].items():
        table.add_row(name, "absent" if value is None else f"{100 * value:.2f}")
    OUT.print(table)
    for distance, values in result["by_distance"].items():
        shown = "none" if values["mean_iou"] is None else f"{100 * values['mean_iou']:.2f}"
        OUT.print(f"{distance:>10}: mIoU {shown}")
    if official:
        OUT.print(f"official rule (absent classes count 0): mIoU {100 * result['official_mean_iou']:.2f}")
    present = f"{len(result['classes_present'])} classes present"
    OUT.print(f"mIoU {100 * result['mean_iou']:.2f} over {present}, accuracy {100 * result['accuracy']:.2f}")
