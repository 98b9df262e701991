"""`rangeseg propagate`: carries the labels of some scans of a drive to all scans in reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.apps.explore import projection_of
from rangeseg.drive.carry import Rules
from rangeseg.drive.propagate import Task, propagate
from rangeseg.drive.request import Request, count, make_task
from rangeseg.drive.tally import Tally
from rangeseg.files import write_atomically
from rangeseg.parallel import Progress, no_progress
from rangeseg.types import IGNORE
from rangeseg.vis.png import write_png
from rangeseg.vis.propagate import before_and_after


def run_propagate(
    requests: Request | Sequence[Request], *, overwrite: bool = False, workers: int = 2, png: Path | None = None,
    scan: str | None = None, json_path: Path | None = None, progress: Progress = no_progress,
) -> Iterator[str]:  # fmt: skip
    """Carry labels along one or several drives, count the labels, and draw a scan.

    Args:
        requests: one request per drive; all drives have the same classes.
        overwrite: write existing files again.
        workers: number of threads.
        png: picture of a scan of the first drive before and after; None: no picture.
        scan: name of this scan; default: the middle one of the unlabelled scans in reach.
        json_path: file for all counts; None: no file.
        progress: shows the progress.

    Yields:
        Messages about what was done.

    Raises:
        ValueError: a file cannot be read, or an argument is invalid.
    """
    tasks = [make_task(one) for one in ([requests] if isinstance(requests, Request) else requests)]
    if scan is not None and scan not in tasks[0].drive.names:
        drive = tasks[0].drive
        raise ValueError(f"{drive.name}: has no scan {scan} to draw; give a name like {drive.names[0]}.")
    if scan is not None and not tasks[0].reach(tasks[0].drive.names.index(scan)):
        raise ValueError(f"{scan}: no labelled scan reaches it, so --scan cannot draw it. Name a scan within reach.")
    label_map = tasks[0].drive.label_map
    total = Tally.empty(label_map.num_classes)
    for task in tasks:
        reached: list[int] = []
        yield ("" if len(tasks) == 1 else f"{task.drive.name}: ") + _rules_text(task.rules, len(task.labelled))
        done = propagate(task, overwrite=overwrite, workers=workers)
        for number in progress(done, "carrying", len(task.drive.scans)):
            total += count(task, number)
            reached.append(number)
        yield f"{len(task.labelled)} labelled scans reach {len(reached)} of {len(task.drive.scans)}."
        if png and task is tasks[0]:
            yield _drawn(task, reached, scan, png)
    report = total.report(label_map.names)
    yield f"{_percent(report['labelled'])} of the points of all scans in reach have a label. Labels: {task.out}"
    yield from lines_of(report)
    if json_path:
        records = [task.record() | {"drive": task.drive.name} for task in tasks]
        record = (records[0] if len(tasks) == 1 else {"drives": records}) | {"report": report}
        write_atomically(json_path, (json.dumps(record, indent=1) + "\n").encode())
        yield f"counts: {json_path}"


def _drawn(task: Task, reached: list[int], scan: str | None, png: Path) -> str:
    others = [number for number in reached if number not in task.labelled] or reached
    chosen = others[len(others) // 2] if scan is None else task.drive.names.index(scan)
    draw(task, chosen, png)
    return f"picture of {task.drive.names[chosen]}: {png}"


def draw(task: Task, number: int, png: Path) -> None:
    """Draw a scan before and after, and its correct and wrong labels if the true labels are known."""
    entry, label_map = task.drive.scans[number], task.drive.label_map
    scan, raw = task.drive.read(entry.file), task.raw(number)
    before = np.full(len(scan), IGNORE, np.uint8) if raw is None else label_map.to_train(raw & 0xFFFF)
    after = label_map.to_train(task.drive.read_raw(task.label_file(number), entry.file) & 0xFFFF)
    truth = task.drive.labels_of(entry)
    known = None if truth is None else label_map.to_train(truth & 0xFFFF)
    image = projection_of(None, label_map)(scan)
    write_png(png, before_and_after(image, before, after, known, label_map))


def lines_of(report: dict[str, Any]) -> list[str]:
    """The lines that print a report; none if no true labels are known."""
    if not report["points"]:
        return []
    lines = [
        f"of {report['points']:,} points with a true class that were not labelled by people: "
        f"{_percent(report['coverage'])} covered, {_percent(report['accuracy'])} of these correct, mIoU of the covered "
        f"points {_percent(report['mean_iou_of_covered'])}"
    ]
    lines += [
        f"  {name}: {_percent(one['coverage'])} covered, IoU {_percent(one['iou'])}"
        for name, one in report["by_class"].items()
    ]
    for key, word in (
        ("by_metres_to_the_nearest_label", "distance to the nearest label (m)"),
        ("by_scans", "number of scans to the labelled scan"),
        ("by_metres_between_sensors", "distance between the sensors (m)"),
    ):
        bins = (f"{name}: {_percent(one['accuracy'])} of {one['points']:,} points" for name, one in report[key].items())
        lines.append(f"accuracy by {word}: {'; '.join(bins)}")
    moving = report["moving"]
    if moving["points"]:
        lines.append(f"of {moving['points']:,} points of moving objects, {_percent(moving['coverage'])} got a label")
    return lines


def _rules_text(rules: Rules, labelled: int) -> str:
    see = "not to points that the labelled scan saw through" if rules.visibility else "without a visibility test"
    grows = f" plus {100 * rules.max_distance_per_m:g} % of the range" if rules.max_distance_per_m else ""
    if rules.spread == "surface":
        other = rules.min_agreement / (1 - rules.min_agreement)
        condition = f"class of the nearest labelled point along the surface (voxels of {rules.voxel_m:g} m), "
        condition += f"within {rules.max_distance_m:g} m{grows}, "
        condition += f"if the nearest point of another class is at least {other:.3g} times as far away"
    else:
        condition = f"class of at least {_percent(rules.min_agreement)} of the nearest labelled points within "
        condition += f"{rules.max_distance_m:g} m{grows} (at least {rules.min_neighbours}, at most {rules.neighbours})"
    return (
        f"{labelled} labelled scans; {condition}; to scans up to {rules.max_scans} scans and "
        f"{rules.max_sensor_distance_m:g} m away; {see}"
    )


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.3g} %"
