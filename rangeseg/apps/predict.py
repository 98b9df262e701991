"""`rangeseg predict`: label files, folders or a split, check the labels and pack a submission.

Every process that torchrun started labels its share. Whole files are left alone and half-written ones never exist, so a
stopped command goes on when it is given again. The first process checks and packs when all others are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rangeseg.apps.validate import count_problems
from rangeseg.inference.distributed import Rank
from rangeseg.inference.predict import Task, check_predictions, find_tasks, predict, write_zip
from rangeseg.inference.segmenter import Segmenter
from rangeseg.inference.submission import check_zip, refuse

Watch = Callable[[Iterable[tuple[Task, bool]], str, int], Iterable[tuple[Task, bool]]]
"""(what is done, word for it, how many) -> the same, perhaps with a bar."""


def predict_inputs(
    run: Path | None,
    inputs: Sequence[Path],
    out: Path,
    *,
    split: str | None = None,
    zip: Path | None = None,
    partial: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    device: str = "auto",
    compile: bool = False,
    overrides: Sequence[str] = (),
    watch: Watch = lambda done, word, total: done,
) -> Iterator[str]:
    """Label the given files, folders or split.

    Args:
        run: run folder or checkpoint; None: the network that ships with rangeseg.
        inputs: files and folders of scans or photographs.
        out: the output folder.
        split: all of a split, too.
        zip: pack the labels here.
        partial: pack a split that has other than its official number of scans, too.
        overwrite: write again what is there and whole.
        workers: threads of each process, as `Segmenter.stream` uses them; None: as suits the device.
        device: a torch device, or auto.
        compile: see `Segmenter`.
        overrides: `key.path=value` above the run's config.
        watch: shows the progress.

    Yields:
        Messages about each stage, in the first process only.

    Raises:
        ValueError: there is nothing to predict, a file cannot be read, or the result is not what a server takes.
    """
    rank = Rank.join()
    try:
        segmenter = Segmenter.load(run, device=rank.device(device), overrides=overrides, compile=compile)
        workers = segmenter.workers if workers is None else workers
        experiment = segmenter.run.experiment
        files, samples = experiment.prediction_files, f"{experiment.dataset.kind}s"
        source = experiment.open(split, labels=False) if split else None
        if source is not None and split and zip and not partial:  # hours before it would be packed
            names = [source.name(index) for index in range(len(source))]
            problems = count_problems(segmenter.label_map, source.split or split, names)
            refuse(zip, problems, cure="Pack a part with --partial.")
        if not inputs and source is None:
            raise ValueError(f"Nothing to predict. Give files or folders of {samples}, or --split test.")
        tasks = find_tasks(inputs, files, source)
        share = rank.share(tasks)
        done: Iterable[tuple[Task, bool]] = predict(segmenter, files, share, out, overwrite=overwrite, workers=workers)
        written = sum(new for _, new in (done if rank.number else watch(done, "predicting", len(share))))
        rank.wait()
        if rank.number:
            return
        beside = files.finish(out, source) if source is not None else []
        problems = check_predictions(tasks, out, files, workers=workers)
        if problems := problems + (files.problems(out, source) if source is not None else []):
            raise ValueError(f"Predictions do not match their {samples}:\n" + "\n".join(problems))
        now = f"{written} now" if rank.world == 1 else f"{written} now by the first of {rank.world} processes"
        yield f"{len(tasks)} {samples} labelled in {out} ({now}); counts and values checked."
        if zip:

            def check(packed: Path) -> None:
                refuse(zip, check_zip(packed, tasks, files, beside=beside, workers=workers))

            write_zip(out, tasks, zip, check, beside=beside)
            yield f"submission: {zip}, packed and read again"
    finally:
        rank.leave()
