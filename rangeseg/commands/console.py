"""Output of the commands. Rich is imported when something is printed, so that the help is fast."""

from __future__ import annotations

import argparse
import re
import shlex
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rangeseg.evaluation.reliability import Reliability


SECONDS_A_LINE = 20.0
"""Seconds between two lines of progress if standard error is not a terminal."""


@cache
def console(*, stderr: bool = False) -> Console:
    """The console of standard output or standard error; it ignores markup and escapes control characters."""
    from rangeseg.terminal import PlainConsole

    return PlainConsole(stderr=stderr)


OUT_IS_A_FILE = {"export", "report", "fit-head", "fit-sensor", "stats"}
"""Commands whose --out is a file; for all other commands, it is a folder."""

RECORDINGS = {".bag", ".mcap", ".db3"}
"""Suffixes of an --out that is a file for every command."""


class Output:
    """Standard output."""

    def print(self, *words: object, **options: Any) -> None:
        """Print as `rich.console.Console.print` does."""
        console().print(*words, **options)


OUT = Output()


MOST_NOTICES = 20
"""Maximum number of notices of one kind that are printed; the rest are only counted."""


@contextmanager
def notices_as_lines() -> Iterator[None]:
    """Print each `Notice` once, as ``warning: FILE: ...`` on standard error, inside the block.

    Notices are of one kind if they differ only in the file and in numbers. Of each kind, only the first `MOST_NOTICES`
    are printed; the end of the block prints the number of the others. Other warnings are shown as usual.
    """
    from rangeseg.notices import Notice

    seen: set[str] = set()
    kinds: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            text = str(message)
            if not issubclass(category, Notice):
                shown(message, category, *place, **more)
            elif text not in seen:
                seen.add(text)
                kind = re.sub(r"[\d.,]+", "N", text.partition(": ")[2] or text)
                kinds[kind] += 1
                if kinds[kind] <= MOST_NOTICES:
                    say(f"warning: {text}", "yellow")

        warnings.showwarning = show
        try:
            yield
        finally:
            for kind, count in kinds.items():
                if count > MOST_NOTICES:
                    say(f"warning: {count - MOST_NOTICES} more files like the last: {kind}", "yellow")


def say(words: str, style: str) -> None:
    """Print one line to standard error."""
    console(stderr=True).print(words, style=style, soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table.

    Args:
        columns: headings.
        title: printed above the table; None: no title.
    """
    from rich.table import Table

    return Table(*columns, title=title)


def progress(items: Iterable, words: str, total: int | None) -> Iterable:
    """Yield the items and show the progress on standard error: a bar on a terminal, and lines otherwise.

    Args:
        items: any number of items.
        words: the activity, e.g. "training".
        total: number of items; None: unknown.
    """
    shown = console(stderr=True)
    if not shown.is_terminal:
        return lines_of_progress(items, words, total, lambda line: shown.print(line, soft_wrap=True))
    from rich.progress import track

    return track(items, words, total=total, console=shown)


def lines_of_progress(
    items: Iterable,
    words: str,
    total: int | None,
    say: Callable[[str], object],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Any]:
    """Yield the items, and print lines with the number of finished items and the remaining time.

    A line is printed after an item if `SECONDS_A_LINE` have passed since the last line. A line with the total time is
    printed at the end.

    Args:
        items: any number of items.
        words: the activity, e.g. "training".
        total: number of items; None: unknown, and the lines have no remaining time.
        say: prints a line.
        clock: returns the time in seconds.
    """
    began = last = clock()
    done, of = 0, "" if total is None else f"/{total}"
    for done, item in enumerate(items, 1):
        yield item
        now = clock()
        if now - last >= SECONDS_A_LINE and done != total:
            left = "" if total is None else f", {_clock((now - began) / done * (total - done))} left"
            say(f"{words}: {done}{of}{left}")
            last = now
    say(f"{words}: {done}{of} in {_clock(clock() - began)}")


def _clock(seconds: float) -> str:
    """The time as H:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def command_line(*words: object) -> str:
    """The words as a command line, quoted for a shell."""
    return shlex.join(map(str, words))


def whole(least: int = 1) -> Callable[[str], int]:
    """Type of an option: a whole number that is not below `least`. Other values are usage errors."""

    def convert(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is out of range; give at least {least}")
        return value

    convert.__name__ = "int"  # for argparse's own message
    return convert


def check_outputs(arguments: argparse.Namespace, command: str) -> None:
    """Check before the work whether the outputs of a command can be written.

    Raises:
        OSError: an output cannot be written.
    """
    from rangeseg.files import check_folder, check_writable

    for name in ("out", "prelabel", "json", "plot", "zip", "video", "png", "html", "results"):
        path = vars(arguments).get(name)
        if isinstance(path, Path):
            folder = name == "prelabel" or (name == "png" and command == "show" and path.is_dir())
            folder |= name == "out" and command not in OUT_IS_A_FILE and path.suffix not in RECORDINGS
            check_folder(path) if folder else check_writable(path)


def values_of(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The values of some arguments, by name."""
    return {name: getattr(arguments, name) for name in names}


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare `--trust`, for commands that load a run."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="allow files to run code (module:Class in a stored config, or a .pt2); use it only for files you trust",
    )


def add_deskew(parser: argparse.ArgumentParser) -> None:
    """Declare `--deskew`, for commands that read the scans of a drive with their poses."""
    parser.add_argument(
        "--deskew",
        choices=("start", "middle", "end"),
        help="correct the motion within a sweep, using the time of each point; the value is the moment of the poses",
    )


def add_unsure(parser: argparse.ArgumentParser) -> None:
    """Declare `--unsure`, for commands that write labels."""
    parser.add_argument(
        "--unsure", action="append", default=[], metavar="LEAST",
        help="leave out labels with a lower confidence, for example 0.6; with values for classes: 0.6,car=0.5",
    )  # fmt: skip


def print_report(result: dict[str, Any], title: str, *, official: bool) -> None:
    """Print the IoU of each class, the mIoU by distance, and the means over all classes."""
    pixels = result.get("pixels")
    rows = table("class", "IoU %", *(["pixels' IoU %"] if pixels else []), title=title)
    for name, value in result["iou"].items():
        rows.add_row(name, *(_percent(v, none="absent") for v in [value, *([pixels["iou"][name]] if pixels else [])]))
    OUT.print(rows)
    for distance, values in result["by_distance"].items():
        OUT.print(f"{distance:>10}: mIoU {_percent(values['mean_iou'])}")
    if official:
        OUT.print(f"official rule (absent classes count 0): mIoU {100 * result['official_mean_iou']:.2f}")
    present = f"{len(result['classes_present'])} classes present"
    mean, accuracy = (_percent(result[name]) for name in ("mean_iou", "accuracy"))
    OUT.print(f"mIoU {mean} over {present}, accuracy {accuracy}")
    if pixels:
        numbers = f"mIoU {_percent(pixels['mean_iou'])}, accuracy {_percent(pixels['accuracy'])}"
        OUT.print(f"pixel level: {numbers}; without back-projection, only for points that the range image shows")


def print_groups(groups: dict[str, dict[str, float | None]]) -> None:
    """Print for each group of classes: the share of its elements that got one of its classes, and its share of all."""
    rows = table("group", "right %", "of all labels %", "of all predictions %")
    for name, values in groups.items():
        rows.add_row(name, *(_percent(values[key], none="absent") for key in ("right", "labelled", "predicted")))
    OUT.print(rows)


def print_reliability(found: Reliability, temperature: float) -> None:
    """Print the accuracy of the predictions by confidence, and the calibration error (ECE)."""
    rows = table("confidence", "share %", "mean %", "right %")
    for low, high, *values in found.curve(2):
        rows.add_row(f"{low:.1f} to {high:.1f}", *map(_percent, values))
    OUT.print(rows)
    sure, right = found.means()
    means = f"mean confidence {_percent(sure)}, right {_percent(right)}"
    OUT.print(
        f"calibration error (ECE) {_percent(found.error())}; {means}; temperature {temperature:.3g}", soft_wrap=True
    )


def _percent(share: float | None, none: str = "none") -> str:
    return none if share is None else f"{100 * share:.2f}"
