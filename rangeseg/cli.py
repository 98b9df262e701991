"""The `rangeseg` command. Each subcommand is a thin shell over the library; `tools/*.py` call the same functions.

rangeseg train CONFIG [key.path=value ...] [--resume]
rangeseg evaluate RUN [key.path=value ...] [--official] [--json FILE]
rangeseg predict RUN [INPUT ...] --out DIR [--split test] [--zip FILE]
rangeseg show SCAN [--labels FILE] [--run RUN | --prediction FILE] [--png FILE]
rangeseg show perturbation NAME|CONFIG ... --png FILE|DIR
rangeseg split --out DIR [--by frame|block|permutation] [--seed N]
rangeseg analyse patch-distance CONFIG --out DIR
rangeseg fit-sensor SCAN ... --out FILE.yaml [--png FILE] [--beside SENSOR ...]
rangeseg benchmark DATA [--configs CONFIG ...] | --photos CONFIG [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from rangeseg.files import write_atomically
from rangeseg.version import __version__

OUT = Console(highlight=False, markup=False)
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)+=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error the user can mend, said in one line on standard error.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    overrides = [word for word in words if OVERRIDE.match(word)]
    arguments = _parser().parse_args([word for word in words if word not in overrides])
    arguments.overrides = overrides
    try:
        arguments.run_command(arguments)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if arguments.debug:
            raise
        Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", style="red", soft_wrap=True)
        return 1
    return 0


def train(arguments: argparse.Namespace) -> None:
    """Train a config in its run folder."""
    from rangeseg.config import read_config
    from rangeseg.engine.training import train as run

    config = read_config(arguments.config, arguments.overrides)
    result = run(config, resume=arguments.resume)
    if result is not None:
        _print_report(result, f"{config.evaluation.split}, teacher at step {config.optim.steps}", official=False)
        OUT.print(f"run folder: {config.runtime.out}", soft_wrap=True)


def evaluate(arguments: argparse.Namespace) -> None:
    """Score a run's teacher on the points of a split, or on the original pixels of photographs."""
    from rangeseg.engine.evaluate import report, score
    from rangeseg.engine.experiment import make_views, modality, open_source, segment_views, stride_of
    from rangeseg.engine.run import Run

    half = ["data.dataset.half=true"] if arguments.half_resolution else []
    run = Run.load(arguments.run, device=arguments.device, overrides=[*half, *arguments.overrides])
    split = arguments.split or run.config.evaluation.split
    kind = modality(run.config)
    views = make_views(run.config, open_source(run.config, split), stride=stride_of(run.network))
    indices = track(range(len(views)), "evaluating", console=Console(stderr=True), total=len(views))
    segmented = segment_views(run.config, run.network, views, indices, run.device)
    result = {"split": split, kind.things: len(views)} | report(
        score(segmented, run.label_map.num_classes, distances=True), run.label_map.names
    )
    title = f"{split}, {len(views)} {kind.things}, every {kind.elements.removesuffix('s')}"
    _print_report(result, title, official=arguments.official)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(result, indent=2).encode())


def predict(arguments: argparse.Namespace) -> None:
    """Write labels for files, folders or a split, in the dataset's own form."""
    from rangeseg.engine.experiment import modality, open_source
    from rangeseg.engine.predict import check_predictions, find_tasks, write_zip
    from rangeseg.engine.predict import predict as run
    from rangeseg.engine.segmenter import Segmenter

    segmenter = Segmenter.load(arguments.run, device=arguments.device, overrides=arguments.overrides)
    kind = modality(segmenter.run.config)
    files = kind.files(segmenter.label_map)
    inputs = list(arguments.inputs)
    if arguments.split:
        inputs += files.of_split(open_source(segmenter.run.config, arguments.split, labels=False))
    if not inputs:
        raise ValueError(f"There is nothing to predict. Give files or folders of {kind.things}, or --split test.")
    tasks = find_tasks(inputs, files)
    written = 0
    for _, new in track(
        run(segmenter, files, tasks, arguments.out, overwrite=arguments.overwrite), "predicting", total=len(tasks)
    ):
        written += new
    if problems := check_predictions(tasks, arguments.out, files):
        raise ValueError(f"Predictions do not fit their {kind.things}:\n" + "\n".join(problems))
    OUT.print(
        f"{len(tasks)} {kind.things} labelled below {arguments.out} ({written} now); counts and values checked.",
        soft_wrap=True,
    )
    if arguments.zip:
        write_zip(arguments.out, tasks, arguments.zip)
        OUT.print(f"submission: {arguments.zip}", soft_wrap=True)


def show(arguments: argparse.Namespace) -> None:
    """Draw a scan: range, label, prediction, error, and from above; or a photograph with the same."""
    from rangeseg.engine.show import show as run
    from rangeseg.engine.show_perturbation import show_perturbations

    first, *others = arguments.scan
    if first == "perturbation" and others:
        if not arguments.png:
            raise ValueError("Perturbations are drawn to files: give --png FILE, or with several of them a folder.")
        chosen = {name: getattr(arguments, name) for name in ("config", "run", "seed", "overrides")}
        for path in show_perturbations(others, arguments.png, **chosen):
            OUT.print(f"picture: {path}", soft_wrap=True)
        return
    if others:
        raise ValueError(
            f"show draws one scan at a time, or `show perturbation NAME`; got {len(arguments.scan)} words."
        )
    names = ("labels", "run", "prediction", "dataset", "png", "overrides")
    run(Path(first), **{name: getattr(arguments, name) for name in names})
    if arguments.png:
        OUT.print(f"picture: {arguments.png}", soft_wrap=True)


def repeat(arguments: argparse.Namespace) -> None:
    """Train configs with several seeds and tabulate mean and spread."""
    from rangeseg.engine.repeat import make_jobs, run_jobs, table

    jobs = make_jobs(arguments.configs, arguments.seeds, arguments.out)
    done = run_jobs(jobs, arguments.overrides, parallel=arguments.jobs)
    for _ in track(done, "training", total=len(jobs), console=Console(stderr=True)):
        write_atomically(arguments.out / "table.md", (table(jobs) + "\n").encode())
    OUT.print((arguments.out / "table.md").read_text(), soft_wrap=True)


def split(arguments: argparse.Namespace) -> None:
    """Draw nested lists of labelled scans or photographs."""
    from rangeseg.data.split import write_lists

    for path in write_lists(
        arguments.out,
        fractions=tuple(arguments.fractions),
        counts=tuple(arguments.counts),
        seed=arguments.seed,
        by=arguments.by,
        order=arguments.order,
        dataset=arguments.dataset,
        root=arguments.root,
        options=tuple(arguments.options),
    ):
        OUT.print(f"list: {path}", soft_wrap=True)


def fit_sensor(arguments: argparse.Namespace) -> None:
    """Find a sensor's rows, beams, field of view and order from its scans."""
    from rangeseg.benchmark.projections import points_per_ms
    from rangeseg.engine.fit import candidates, compare, fit

    fitted, scans, labels = fit(
        arguments.scans, arguments.out, png=arguments.png, most=arguments.most, name=arguments.name
    )
    projections = candidates(fitted, arguments.beside)
    lines = compare(projections, scans, labels)
    speed = points_per_ms({line.name: projections[line.name] for line in lines}, scans)
    table = Table("projection", "size", "filled %", "hidden %", "points/ms", "ceiling %", title=fitted.model.sensor)
    for line in lines:
        ceiling = "no labels" if line.ceiling is None else f"{100 * line.ceiling:.2f}"
        size = f"{line.height} x {line.width}"
        shares = (f"{100 * line.filled:.1f}", f"{100 * line.hidden:.2f}")
        table.add_row(line.name, size, *shares, f"{speed[line.name]:,.0f}", ceiling)
    OUT.print("\n".join(fitted.words), soft_wrap=True)
    OUT.print(table)
    OUT.print(f"sensor: {arguments.out}, by default through {fitted.model.projection}. In a config:", soft_wrap=True)
    OUT.print(f"  data: {{projection: {{name: sensor, sensor: {arguments.out}}}}}", soft_wrap=True)


def benchmark(arguments: argparse.Namespace) -> None:
    """Time each stage beside a plain implementation of it."""
    from rangeseg.benchmark.run import run, run_photos

    if arguments.photos:
        run_photos(arguments.photos, arguments.overrides, json_path=arguments.json, repeats=arguments.repeats)
        return
    if arguments.data is None:
        raise ValueError("There is nothing to time. Give SemanticKITTI's folder, or --photos CONFIG.")
    run(arguments.data, configs=arguments.configs, json_path=arguments.json, repeats=arguments.repeats)


def analyse(arguments: argparse.Namespace) -> None:
    """Measure a dataset: is there a low-density region along class boundaries?"""
    from rangeseg.config import read_config
    from rangeseg.engine.analyse import patch_distance

    config = read_config(arguments.config, [*arguments.overrides, "runtime.out=."])
    names = ("split", "patches", "anchors", "every", "seed")
    result = patch_distance(config, arguments.out, **{name: getattr(arguments, name) for name in names})
    heads = ("ratio", "AUC", "AUC right", "AUC below", "same class", "chance", "of as many")
    measures = ("contrast", "separability", "separability_right", "separability_below")
    table = Table("patch", *heads, title="pairs across a boundary; the nearest patch of another scene")
    for patch, part in result["patches"].items():
        shown = ["none" if (value := part["neighbours"][name]) is None else f"{value:.2f}" for name in measures]
        near = part["nearest"]
        shares = [near, near, near["of_as_many"]] if near["anchors"] else []
        kinds = ("same_class_is_nearer", "by_chance", "same_class_is_nearer")
        same = [f"{share[kind]:.1%}" for share, kind in zip(shares, kinds, strict=False)]
        table.add_row(patch, *shown, *same)
    OUT.print(table)
    OUT.print(f"numbers and picture: {arguments.out}", soft_wrap=True)


def _print_report(result: dict[str, Any], title: str, *, official: bool) -> None:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rangeseg", description="Semi-supervised LiDAR segmentation in the range view."
    )
    parser.add_argument("--version", action="version", version=f"rangeseg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(
            run.__name__.replace("_", "-"), help=run.__doc__.splitlines()[0], description=run.__doc__
        )
        added.set_defaults(run_command=run)
        return added

    one = command(train)
    one.add_argument("config", type=Path, help="a YAML of configs/; key.path=value after it overrides")
    one.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    one = command(evaluate)
    one.add_argument("run", type=Path, help="run folder or checkpoint")
    one.add_argument("--split", help="train, val or test; the config's if not given")
    one.add_argument(
        "--official", action="store_true", help="also print the benchmark's own mean (absent classes count 0)"
    )
    one.add_argument(
        "--half-resolution", action="store_true", help="score Cityscapes at 1024 x 512, as the BMVC 2020 paper does"
    )
    one.add_argument("--json", type=Path, help="write all figures here")
    one.add_argument("--device", default="auto")
    one = command(predict)
    one.add_argument("run", type=Path, help="run folder or checkpoint")
    one.add_argument("inputs", nargs="*", type=Path, help="files or folders of scans or photographs")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--split", help="all scans or photographs of a split")
    one.add_argument("--zip", type=Path, help="pack the labels for the benchmark's server")
    one.add_argument("--overwrite", action="store_true", help="write again what is there and whole")
    one.add_argument("--device", default="auto")
    one = command(show)
    one.add_argument("scan", nargs="+", help="a file; or the word perturbation, then names or configs to draw")
    one.add_argument("--config", type=Path, help="of a perturbation: whose data it is drawn on")
    one.add_argument("--seed", type=int, default=0, help="of a perturbation's drawing")
    one.add_argument("--labels", type=Path, help="its label file; a scan's is found by itself in the official layout")
    one.add_argument("--run", type=Path, help="predict with this run")
    one.add_argument("--prediction", type=Path, help="draw this label file as the prediction")
    one.add_argument("--dataset", default="semantic_kitti", help="whose classes and colours, where no run tells")
    one.add_argument("--png", type=Path, help="write a picture instead of opening a window")
    one = command(repeat)
    one.add_argument("configs", nargs="+", type=Path, help="YAMLs of configs/; key.path=value overrides in all")
    one.add_argument("--out", type=Path, required=True, help="holds one run folder for each config and seed")
    one.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    one.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    one = command(split)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--dataset", default="semantic_kitti")
    one.add_argument("--root", type=Path, help="folder of the dataset; a scan dataset's official counts if not given")
    one.add_argument("--fractions", type=float, nargs="+", default=[0.01, 0.1, 0.2, 0.5])
    one.add_argument("--counts", type=int, nargs="+", default=[], help="how many, instead of fractions")
    one.add_argument("--by", choices=["frame", "block", "permutation"], default="frame")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--order", type=Path, help="by permutation: a published one, .npy or .txt, instead of the seed's")
    one.add_argument("--options", nargs="+", default=[], help="of the dataset, e.g. train_list=train_aug")
    one = command(analyse)
    one.add_argument("what", choices=["patch-distance"], help="what is measured")
    one.add_argument("config", type=Path, help="whose views are measured; key.path=value after it overrides")
    one.add_argument("--out", type=Path, required=True, help="folder for JSON and PNG")
    one.add_argument("--split", default="train")
    one.add_argument("--patches", type=int, nargs="+", default=[3, 7, 15], help="sides of the patches, pixels, odd")
    one.add_argument("--anchors", type=int, default=4000, help="patches whose nearest neighbours are looked for")
    one.add_argument("--every", type=int, default=1, help="only every n-th scan or photograph")
    one.add_argument("--seed", type=int, default=0)
    one = command(fit_sensor)
    one.add_argument("scans", nargs="+", type=Path, help="scan files of one sensor, or folders of them")
    one.add_argument("--out", type=Path, required=True, help="the sensor's YAML")
    one.add_argument("--png", type=Path, help="draw the beams and a scan through each projection")
    one.add_argument("--beside", nargs="+", default=[], help="shipped sensors, or YAMLs, to compare with")
    one.add_argument("--most", type=int, default=8, help="read at most so many scans")
    one.add_argument("--name", help="what the sensor is called")
    one = command(benchmark)
    one.add_argument("data", type=Path, nargs="?", help="the folder that holds SemanticKITTI's sequences/")
    one.add_argument("--photos", type=Path, help="the loading of this config's photographs instead")
    one.add_argument("--configs", type=Path, nargs="+", default=[], help="a training step of each of these instead")
    one.add_argument("--json", type=Path)
    one.add_argument("--repeats", type=int, default=20)
    return parser


if __name__ == "__main__":
    sys.exit(main())
