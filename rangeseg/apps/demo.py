"""`rangeseg demo`: the whole method in minutes, without a dataset.

OUT/demo.json          what it is the demo of     OUT/streets/          synthetic scans, in SemanticKITTI's layout
OUT/labelled.txt       the scans with labels      OUT/METHOD_seedN/     run folders, METHOD_seedN.log beside them
OUT/predictions/       .label files               OUT/demo.png, OUT/report.html

Whatever is whole is used again, so that a demo that was stopped goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rangeseg.apps.predict import predict_inputs
from rangeseg.apps.repeat import Job, make_jobs, run_jobs
from rangeseg.apps.report import write_report
from rangeseg.apps.show import show
from rangeseg.apps.steps import ChildProcesses
from rangeseg.config import read_config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.synthesise import synthesise
from rangeseg.engine.run_logger import read_metrics
from rangeseg.files import write_atomically
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust, named_code

METHODS = ("supervised", "cutmix")
"""Files of `configs/demo`, trained side by side."""

TRAIN, VAL = ("00", "01", "02", "03", "04"), ("08",)
"""Sequences of streets; no street is in both."""

LABELLED = 10
"""Scans whose labels are used."""


@dataclass(frozen=True)
class Numbers:
    """The scores of one method: shares of all labelled points of the evaluation scans."""

    method: str
    mean_iou: float
    accuracy: float


def demo(
    out: Path,
    *,
    real: Path | None = None,
    seed: int = 0,
    scans: int = 20,
    overrides: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Iterator[str | Numbers]:
    """Make streets, train without and with the unlabelled ones, score, predict, draw, and report.

    Args:
        out: the folder of all that it makes.
        real: a folder with SemanticKITTI's `sequences/` instead of streets.
        seed: of streets, weights and all else.
        scans: synthetic ones in each sequence, at least 2.
        overrides: `key.path=value` above both configs.
        progress: shows the progress.

    Yields:
        Messages about each stage, and the scores of each method.

    Raises:
        ValueError: `out` holds another demo, `real` has no scans to train or evaluate on.
        ImportError: Open3D, which casts the rays, is missing.
        RuntimeError: a training failed; its log is named.
    """
    _claim(
        out, {"real": None if real is None else str(real.resolve()), "seed": seed, "scans": scans} | _keys(overrides)
    )
    root = real
    if root is None:
        began = time.perf_counter()
        count = _make_streets(out / "streets", scans, seed, progress)
        yield f"{count} scans of synthetic streets in {out / 'streets'}{_took(began)}"
        root = out / "streets"
    labelled = _choose_labelled(root, out / "labelled.txt")
    keys = [f"data.root={root}", f"data.labelled={out / 'labelled.txt'}", *overrides]
    jobs = make_jobs([f"demo+{method}" for method in METHODS], [seed], out)
    began = time.perf_counter()
    steps = len(jobs) * read_config(jobs[0].config, keys).optim.steps
    for _ in progress(_train(jobs, keys), "training both", steps):
        pass
    yield f"trained in parallel with {labelled} labelled scans: {', '.join(METHODS)}{_took(began)}"
    began = time.perf_counter()
    own = frozenset(name for _, name in named_code(asdict(read_config(jobs[0].config, keys))))
    yield from _show(out, root, [job.folder for job in jobs], own, progress)
    yield f"predicted, drawn and reported{_took(began)}"
    for job in jobs:
        found = json.loads(job.report.read_text())
        yield Numbers(str(job.config).rpartition("+")[2], found["mean_iou"], found["accuracy"])


def verdict(supervised: Numbers, cutmix: Numbers) -> str:
    """One honest sentence on two numbers of one seed."""
    lead = 100 * (cutmix.mean_iou - supervised.mean_iou)
    accuracy = 100 * (cutmix.accuracy - supervised.accuracy)
    if lead > 0:
        start = f"With the unlabelled scans, CutMix is {lead:.1f} points of mIoU ahead ({accuracy:+.1f} of accuracy)."
    else:
        start = f"CutMix is not ahead here: {lead:+.1f} points of mIoU, {accuracy:+.1f} of accuracy."
    return f"{start} It is one seed of a short schedule; results/demo.md has several."


def _claim(out: Path, what: dict[str, Any]) -> None:
    """Record the settings of the demo in its folder, or reject a folder with other settings."""
    path = out / "demo.json"
    if path.is_file() and (other := json.loads(path.read_text())) != what:
        differing = ", ".join(sorted(key for key in {*what, *other} if what.get(key) != other.get(key)))
        raise ValueError(
            f"{out} holds a demo with a different {differing}. Choose another --out, or remove the folder."
        )
    write_atomically(path, json.dumps(what, indent=2).encode())


def _keys(overrides: Sequence[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in overrides)}


def _make_streets(folder: Path, scans: int, seed: int, progress: Progress) -> int:
    count = scans * (len(TRAIN) + len(VAL))
    done = folder / "whole"
    if not done.is_file():
        made = (
            path
            for sequences, per_street in ((TRAIN, 2), (VAL, 1))
            for path in synthesise(
                folder, sequences, scans=scans, seed=seed, scans_per_street=per_street, spacing_m=20.0
            )
        )
        for _ in progress(made, "driving through streets", count):
            pass
        write_atomically(done, b"")
    return count


def _choose_labelled(root: Path, path: Path) -> int:
    """Write the list of the labelled scans, evenly spread over the training split."""
    names = SemanticKitti(root, "train", labels=False).names
    if len(names) <= LABELLED:
        raise ValueError(f"{root} has {len(names)} scans in its training split; the demo needs more than {LABELLED}.")
    chosen = [names[place * len(names) // LABELLED] for place in range(LABELLED)]
    write_atomically(path, "".join(f"{name}\n" for name in chosen).encode())
    return len(chosen)


def _train(jobs: Sequence[Job], keys: Sequence[str]) -> Iterator[int]:
    """Train all jobs at once; yields once for every step that they have done together."""
    with ThreadPoolExecutor(1) as pool, ChildProcesses() as children:
        running = pool.submit(lambda: [*run_jobs(jobs, keys, parallel=len(jobs), children=children)])
        seen, going = 0, True
        while going:
            going = not running.done()
            now = sum(max((step for step, _, _ in read_metrics(job.folder / "metrics.csv")), default=0) for job in jobs)
            yield from range(seen, now)
            seen = max(seen, now)
            time.sleep(0.2 if going else 0)
        running.result()


def _show(out: Path, root: Path, runs: Sequence[Path], trust: Trust, progress: Progress) -> Iterator[str]:
    yield from predict_inputs(
        runs[-1], [], out / "predictions", split="val", overwrite=True, trust=trust, progress=progress
    )
    source = SemanticKitti(root, "val", labels=False)
    show(source.scan_path(0), run=runs[-1], png=out / "demo.png", trust=trust)
    yield f"picture: {out / 'demo.png'}"
    others = len(SemanticKitti(root, "train", labels=False)) - LABELLED
    unseen = "scans of unseen synthetic streets" if (root / "whole").is_file() else "real scans of the validation split"
    intro = (
        f"{LABELLED} labelled scans, {others} more without labels. The supervised network saw only the labelled ones, "
        f"the CutMix mean teacher saw all. Both are scored on {len(source)} {unseen}."
    )
    path = write_report(runs, out / "report.html", title="rangeseg demo", intro=intro, trust=trust, progress=progress)
    yield f"report: {path}"


def _took(began: float) -> str:
    return f" ({time.perf_counter() - began:.0f} s)"
