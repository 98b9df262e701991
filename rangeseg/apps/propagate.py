"""`rangeseg propagate`: labels of some scans of a drive become labels of all scans in reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.apps.explore import projection_of
from rangeseg.apps.poses import poses_for
from rangeseg.data.lists import read_names
from rangeseg.drive.carry import Rules, rules_for
from rangeseg.drive.layouts import Drive, open_drive
from rangeseg.drive.propagate import Task, propagate, read_rests
from rangeseg.drive.tally import Tally, tally
from rangeseg.drive.witnesses import WHOLE, classes_of, is_return
from rangeseg.files import write_atomically
from rangeseg.types import IGNORE
from rangeseg.vis.png import write_png
from rangeseg.vis.propagate import before_and_after

Watch = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""(items, word for what is done, how many) -> the same, perhaps with a bar."""

LOOKED_AT = 5
"""Labelled scans of which it is found out whether they are labelled in whole."""


@dataclass(frozen=True)
class Asked:
    """What the command was asked for.

    Args:
        drive: as `open_drive` takes it.
        out: folder of the carried labels.
        labels: folder of the labels that are carried, in the dataset's layout; None: the dataset's own.
        labelled: names of the scans that count as labelled, or a list file of them; empty: all that have labels.
        every: of these, the first of so many.
        poses: folder that `rangeseg poses` wrote; None: the dataset's own.
        scene: of nuScenes.
        dataset: whose classes.
        never: names of classes that are not carried.
        rules: `Rules` that are other than usual; None keeps one.
    """

    drive: Path
    out: Path
    labels: Path | None = None
    labelled: tuple[str, ...] = ()
    every: int = 1
    poses: Path | None = None
    scene: str | None = None
    dataset: str | None = None
    never: tuple[str, ...] = ()
    rules: dict[str, Any] | None = None


def make_task(asked: Asked) -> Task:
    """Open what is asked for.

    Raises:
        ValueError: a file, a scan or a class is not there, or a rule is outside its range.
    """
    drive = open_drive(asked.drive, scene=asked.scene, dataset=asked.dataset)
    labels = asked.labels or drive.root
    labelled = _labelled(drive, labels, asked.labelled)[:: max(1, asked.every)]
    if not labelled:
        raise ValueError(
            f"{labels / drive.stops[0].place}: missing, like the labels of all {len(drive.stops)} scans. Label some, "
            "or name the folder that holds labels with --labels."
        )
    names = drive.label_map.names
    if strange := [name for name in asked.never if name not in names]:
        raise ValueError(f"--never {strange[0]}: is no class; choose of {', '.join(names)}.")
    never = tuple(names.index(name) for name in asked.never)
    rules = rules_for(_whole(drive, labels, labelled), **(asked.rules or {}))
    return Task(drive, poses_for(drive, asked.poses), tuple(labelled), labels, asked.out, rules, never)


def _labelled(drive: Drive, labels: Path, named: Sequence[str]) -> list[int]:
    """Numbers of the scans whose labels count."""
    if len(named) == 1 and Path(named[0]).is_file():
        named = read_names(named[0], pattern=r"\S+", what="scan", form="NAME", example=drive.names[0])
    ends = [name.rpartition("/")[2] for name in named]
    if absent := [name for name in ends if name not in drive.names]:
        raise ValueError(f"{drive.name}: has no scan {absent[0]}; name scans as {drive.names[0]}.")
    wanted = set(ends or drive.names)
    found = [i for i, stop in enumerate(drive.stops) if stop.name in wanted and (labels / stop.place).is_file()]
    if named and len(found) < len(wanted):
        first = next(stop for i, stop in enumerate(drive.stops) if stop.name in wanted and i not in found)
        raise ValueError(f"{labels / first.place}: missing; scan {first.name} was named as labelled.")
    return found


def _whole(drive: Drive, labels: Path, labelled: Sequence[int]) -> bool:
    """Most scans that are looked at are labelled in whole."""
    shares = []
    for number in labelled[:: max(1, len(labelled) // LOOKED_AT)]:
        raw = drive.labels_of(drive.stops[number], labels)
        shares.append(0.0 if raw is None else np.mean(classes_of(raw, drive.label_map) != IGNORE))
    return float(np.median(shares)) > WHOLE


def run_propagate(
    asked: Asked, *, overwrite: bool = False, workers: int = 2, png: Path | None = None, scan: str | None = None,
    json_path: Path | None = None, watch: Watch = lambda items, word, total: items,
) -> Iterator[str]:  # fmt: skip
    """Carry labels along a drive, count and draw.

    Args:
        asked: what is carried where.
        overwrite: write again what is there.
        workers: threads.
        png: a picture of a scan before and after.
        scan: its name; default: of those that nobody labelled, the middle one.
        json_path: all counts.
        watch: shows the progress.

    Yields:
        What was done, in words.

    Raises:
        ValueError: a file cannot be read, or what is asked for does not fit.
    """
    task = make_task(asked)
    label_map = task.drive.label_map
    total = Tally.empty(label_map.num_classes)
    reached: list[int] = []
    yield _said(task.rules, len(task.labelled))
    done = propagate(task, overwrite=overwrite, workers=workers)
    for number in watch(done, "carrying", len(task.drive.stops)):
        total += count(task, number)
        reached.append(number)
    report = total.report(label_map.names)
    yield (
        f"{len(task.labelled)} labelled scans reach {len(reached)} of {len(task.drive.stops)}: "
        f"{_percent(report['labelled'])} of the points have a label. Labels below {task.out}"
    )
    yield from lines_of(report)
    if json_path:
        record = task.record() | {"rules": asdict(task.rules), "report": report}
        write_atomically(json_path, (json.dumps(record, indent=1) + "\n").encode())
        yield f"counts: {json_path}"
    if png:
        others = [number for number in reached if number not in task.labelled] or reached
        chosen = task.drive.names.index(scan) if scan in task.drive.names else others[len(others) // 2]
        draw(task, chosen, png)
        yield f"picture of {task.drive.names[chosen]}: {png}"


def count(task: Task, number: int) -> Tally:
    """Count the carried labels of a scan; points that its own labels were carried from are left out."""
    stop, label_map, places = task.drive.stops[number], task.drive.label_map, task.poses.positions
    rests, truth = read_rests(task.rests_file(number)), task.drive.labels_of(stop)
    label = label_map.to_train(task.drive.read_raw(task.label_file(number), stop.file) & 0xFFFF)
    away = np.linalg.norm(places[number + rests["scans"].astype(np.int64)] - places[number], axis=1)
    known = None if truth is None or truth.shape != label.shape else label_map.to_train(truth & 0xFFFF)
    moving = None if known is None else np.isin(truth & 0xFFFF, label_map.moving)  # type: ignore[operator]
    returns = is_return(task.drive.read(stop.file))
    return tally(label, rests, known, moving, away, label_map.num_classes, returns)


def draw(task: Task, number: int, png: Path) -> None:
    """A scan before and after, and what is right and wrong of it where the truth is known."""
    stop, label_map = task.drive.stops[number], task.drive.label_map
    scan, raw = task.drive.read(stop.file), task.raw(number)
    before = np.full(len(scan), IGNORE, np.uint8) if raw is None else label_map.to_train(raw & 0xFFFF)
    after = label_map.to_train(task.drive.read_raw(task.label_file(number), stop.file) & 0xFFFF)
    truth = task.drive.labels_of(stop)
    known = None if truth is None else label_map.to_train(truth & 0xFFFF)
    image = projection_of(None, label_map)(scan)
    write_png(png, before_and_after(image, before, after, known, label_map))


def lines_of(report: dict[str, Any]) -> list[str]:
    """What a report says, in some lines; none where no truth is known."""
    if not report["points"]:
        return []
    lines = [
        f"of {report['points']:,} points whose class is known and was not given: {_percent(report['coverage'])} "
        f"covered, {_percent(report['accuracy'])} of these right, mIoU of the covered "
        f"{_percent(report['mean_iou_of_covered'])}"
    ]
    lines += [
        f"  {name}: {_percent(one['coverage'])} covered, IoU {_percent(one['iou'])}"
        for name, one in report["by_class"].items()
    ]
    for key, word in (("by_metres_to_the_nearest_label", "m to the nearest label"), ("by_scans", "scans away"),
                      ("by_metres_between_sensors", "m away")):  # fmt: skip
        bins = (f"{name}: {_percent(one['accuracy'])} of {one['points']:,}" for name, one in report[key].items())
        lines.append(f"right, by {word}: {'; '.join(bins)}")
    moving = report["moving"]
    if moving["points"]:
        lines.append(f"of {moving['points']:,} points of what moves, {_percent(moving['coverage'])} got a label")
    return lines


def _said(rules: Rules, labelled: int) -> str:
    see = "not onto what the labelled scan saw through" if rules.visibility else "without a test of visibility"
    grows = f" and {100 * rules.growth:g} % of the range" if rules.growth else ""
    return (
        f"{labelled} labelled scans; {rules.neighbours} nearest within {rules.limit_m:g} m{grows}, at least "
        f"{rules.least}, {_percent(rules.agree)} of them agree; up to {rules.scans} scans and {rules.metres:g} m; {see}"
    )


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.3g} %"
