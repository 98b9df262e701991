"""`rangeseg demo`: labels of a scan at once, then the whole method in minutes, without a dataset.

OUT/answer_NAME.png    the given scan labelled by a shipped network, before any training
OUT/answer.png         the same for a synthetic scan, which is in OUT/answer/
OUT/demo.json          settings of the demo       OUT/streets/          synthetic scans, in SemanticKITTI's layout
OUT/labelled.txt       the scans with labels      OUT/METHOD_seedN/     run folders, METHOD_seedN.log beside them
OUT/start.pt           the weights to start from  OUT/predictions/      .label files
OUT/demo.png, OUT/report.html

Complete streets and trainings are used again, so the same command resumes a stopped demo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rangeseg.apps.explore import projection_of, read_shown
from rangeseg.apps.predict import predict_inputs
from rangeseg.apps.repeat import Job, run_jobs
from rangeseg.apps.report import write_report
from rangeseg.apps.show import show
from rangeseg.apps.steps import ChildProcesses
from rangeseg.config import read_config
from rangeseg.data.semantic_kitti import SemanticKitti
from rangeseg.data.synthesise import synthesise, write_scan
from rangeseg.data.synthetic import SyntheticStreets
from rangeseg.engine.run_logger import read_metrics
from rangeseg.files import write_atomically
from rangeseg.inference.export import write_weights
from rangeseg.inference.run import Run
from rangeseg.inference.scoring import open_views, score_run
from rangeseg.inference.segmenter import Segmenter
from rangeseg.notices import collected_notices
from rangeseg.parallel import Progress, no_progress
from rangeseg.registry import Trust, named_code
from rangeseg.scan_io import stem_of
from rangeseg.types import IGNORE, Scan
from rangeseg.vis.png import write_png
from rangeseg.vis.show import show_scan

METHODS = ("supervised", "lasermix")
"""Configs that are joined to `configs/demo.yaml`; they are trained in parallel."""

TRAIN, VAL = ("00", "01", "02", "03", "04"), ("08",)
"""Sequences of streets; no street is in both."""

LABELLED = 10
"""Number of training scans whose labels are used."""

FIRST = "first-answer"
"""The shipped network that labels the synthetic scan and from whose weights the demo trains."""

KITTI, ANY_LIDAR = "kitti", "any-lidar"
"""The shipped networks for a given scan: one for the sensor of KITTI, one for all other sensors."""

SENSOR = "vlp16"
"""Sensor of the synthetic training and evaluation scans; the weights of `FIRST` were trained with another one."""

OF_REAL = ("data.projection.height=32", "data.projection.fov_up_deg=3.0", "data.projection.fov_down_deg=-25.0")
"""Overrides for scans of SemanticKITTI: their projection has one row for two beams of the HDL-64E."""

MOST_NAMED = 4
"""Maximum number of classes in the message on a labelled scan."""


@dataclass(frozen=True)
class Numbers:
    """The scores of one method on all labelled points of the evaluation scans, 0 to 1."""

    method: str
    mean_iou: float
    accuracy: float


def answer(out: Path, scan: Path | None = None, *, seed: int = 0) -> Iterator[str]:
    """Label a given scan, if any, and a synthetic one with the shipped networks, and draw them.

    Args:
        out: the folder of the pictures and of the synthetic scan.
        scan: a file in any format that `rangeseg.scan_io.read_scan` reads; None: only the synthetic scan.
        seed: seed of the street.

    Yields:
        One message per scan, with the path of the picture.

    Raises:
        ImportError: Open3D, which casts the rays, is missing.
        FileNotFoundError, ValueError: the scan does not exist or cannot be read.
    """
    if scan is not None:
        segmenter = Segmenter.load(KITTI)
        points = _read(scan, segmenter)
        weights = KITTI if resembles_training(points, segmenter) else ANY_LIDAR
        yield _label(scan, points, weights, out / f"answer_{stem_of(scan)}.png")
    street = SyntheticStreets(split="val", sequences=["08"], scans=1, scans_per_street=1, seed=seed)
    made = write_scan(out / "answer", street, 0)
    yield _label(made, _read(made, Segmenter.load(FIRST)), FIRST, out / "answer.png")


def _read(path: Path, segmenter: Segmenter) -> Scan:
    return read_shown(path, None, segmenter, "semantic_kitti", segmenter.label_map)


def resembles_training(scan: Scan, segmenter: Segmenter) -> bool:
    """Whether a scan resembles the training scans of a network; False if it has too few returns to tell."""
    with collected_notices():
        segmenter.project(scan)
    fits = segmenter.domain_check.fits  # empty if the scan has too few returns to be checked
    return bool(fits) and all(fits.values())


def _label(path: Path, scan: Scan, weights: str, picture: Path) -> str:
    segmenter = Segmenter.load(weights)
    given = segmenter(scan, confidence=False)
    write_png(
        picture, show_scan(projection_of(segmenter, segmenter.label_map)(scan), given.labels, segmenter.label_map)
    )
    most = ", ".join(f"{name} {100 * share:.0f} %" for name, share in [*given.shares.items()][:MOST_NAMED])
    known = None if scan.label is None else (given.labels == scan.label)[scan.label != IGNORE]
    right = "" if known is None or not known.size else f" {100 * known.mean():.0f} % of its labelled points are right."
    return f"{path}, labelled by the network {weights}: {most}.{right} Picture: {picture}"


def demo(
    out: Path,
    *,
    real: Path | None = None,
    seed: int = 0,
    scans: int = 20,
    overrides: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Iterator[str | Numbers]:
    """Make streets, train from the shipped weights without and with unlabelled scans, score, draw and report.

    Args:
        out: the output folder.
        real: folder with SemanticKITTI's `sequences/`, used instead of streets; None: make streets.
        seed: seed of the streets and of the trainings.
        scans: number of synthetic scans in each sequence, at least 3.
        overrides: `key.path=value` entries that override both configs.
        progress: shows the progress.

    Yields:
        Messages about each stage, and the scores of the shipped weights and of each method.

    Raises:
        ValueError: `out` holds a demo with other settings, or there are too few scans to train or evaluate on.
        ImportError: Open3D, which casts the rays, is missing.
        RuntimeError: a training failed. The message names its log.
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
    keys = [f"data.root={root}", f"data.labelled={out / 'labelled.txt'}", *(OF_REAL if real else ()), *overrides]
    start = out / "start.pt"
    if not start.is_file():
        write_weights(Run.load(FIRST), start)
    yield _score(start, keys)
    jobs = [Job(f"demo+{method}", seed, out / f"{method}_seed{seed}") for method in METHODS]
    began = time.perf_counter()
    steps = len(jobs) * read_config(jobs[0].config, keys).optim.steps
    for _ in progress(_train(jobs, [f"runtime.initialise_from={start}", *keys]), "training both", steps):
        pass
    yield f"trained in parallel with {labelled} labelled scans: {', '.join(METHODS)}{_took(began)}"
    began = time.perf_counter()
    own = frozenset(name for _, name in named_code(asdict(read_config(jobs[0].config, keys))))
    yield from _show(out, root, [job.folder for job in jobs], own, progress)
    yield f"predicted, drawn and reported{_took(began)}"
    for job in jobs:
        found = json.loads(job.report.read_text())
        yield Numbers(str(job.config).rpartition("+")[2], found["mean_iou"], found["accuracy"])


def _score(start: Path, keys: Sequence[str]) -> Numbers:
    """The scores of the shipped weights on the evaluation scans, before the training."""
    sizes = [key for key in keys if key.startswith("data.")]
    projection = read_config("demo", keys).data.projection
    run = Run.load(start, overrides=[*sizes, f"data.projection={json.dumps(projection)}"])
    found = score_run(run, open_views(run)).overall
    return Numbers("as shipped", found.mean_iou(), found.accuracy())


def verdict(supervised: Numbers, semi: Numbers) -> str:
    """A message with the gain of the unlabelled scans, and the note that it comes from one seed."""
    lead = 100 * (semi.mean_iou - supervised.mean_iou)
    accuracy = 100 * (semi.accuracy - supervised.accuracy)
    return (
        f"Gain from the unlabelled scans: {lead:+.1f} points of mIoU, {accuracy:+.1f} points of accuracy. "
        "This is one seed of a short schedule; see results/demo.md for several seeds."
    )


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
                folder, sequences, scans=scans, sensor=SENSOR, seed=seed, scans_per_street=per_street, spacing_m=20.0
            )
        )
        for _ in progress(made, "making streets", count):
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
    """Train all jobs in parallel; yield once for each training step, counted over all jobs."""
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
        f"{LABELLED} labelled scans, {others} more without labels. Both networks start from the shipped weights "
        f"{FIRST}. The supervised one saw only the labelled scans, the mean teacher with LaserMix all. Both are scored "
        f"on {len(source)} {unseen}."
    )
    path = write_report(runs, out / "report.html", title="rangeseg demo", intro=intro, trust=trust, progress=progress)
    yield f"report: {path}"


def _took(began: float) -> str:
    return f" ({time.perf_counter() - began:.0f} s)"
