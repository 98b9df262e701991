"""`rangeseg evaluate`: scores of a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rangeseg.commands.console import OUT, add_trust, print_groups, print_reliability, print_report, progress
from rangeseg.files import write_atomically

if TYPE_CHECKING:
    from rangeseg.inference.distributed import ProcessGroup

EXAMPLES = (
    "rangeseg evaluate runs/quick --calibrate",
    "rangeseg evaluate runs/quick --split val --official --json val.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Score a run on all points of a split, or on the original pixels of photographs; supports torchrun."""
    from rangeseg.inference.distributed import ProcessGroup

    group = ProcessGroup.init()
    try:
        _evaluate(arguments, group)
    finally:
        group.close()


def _evaluate(arguments: argparse.Namespace, group: ProcessGroup) -> None:
    from rangeseg.evaluation.evaluate import report
    from rangeseg.evaluation.groups import parse_groups, score_groups
    from rangeseg.inference.calibrate import calibrated, checkpoint_to_write, write_temperature
    from rangeseg.inference.domain_check import misfit_summary
    from rangeseg.inference.run import Run
    from rangeseg.inference.scoring import open_views, score_run
    from rangeseg.inference.segmenter import Segmenter

    file = checkpoint_to_write(arguments.run) if arguments.calibrate else None
    overrides = [*(["data.dataset.half=true"] if arguments.half_resolution else ()), *arguments.overrides]
    run = Run.load(arguments.run, device=group.device(arguments.device), overrides=overrides, trust=arguments.trust)
    split = arguments.split or run.config.evaluation.split
    kind, element = run.experiment.dataset.kind, run.experiment.dataset.element
    groups = parse_groups(arguments.groups, run.label_map.names)
    views = open_views(run, split)
    run = run if file is None else calibrated(run, views, progress=progress)
    segmenter = Segmenter(run)
    scores = score_run(
        run, views, group=group, pixels=arguments.level == "pixel", progress=progress, segmenter=segmenter
    )
    misfits = group.all_reduce(segmenter.domain_check.counts())  # of all processes
    if group.rank:
        return
    result = {"split": split, f"{kind}s": len(views)} | report(scores, run.label_map.names)
    title = f"{split}, {len(views)} {kind}s, every {element}"
    print_report(result, title, official=arguments.official)
    if scores.reliability is not None:
        result["reliability"] = scores.reliability.report(run.label_map.names, run.temperature)
        print_reliability(scores.reliability, run.temperature)
    if groups:
        print_groups(by_group := score_groups(scores.overall, groups))
        result["groups"] = by_group
    if file is not None:
        write_temperature(file, run.temperature)
        OUT.print(f"{file}: temperature {run.temperature:.3f}, fitted on the {kind}s scored here", soft_wrap=True)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(result, indent=2).encode())
    for line in misfit_summary(*misfits.tolist(), anyway=arguments.anyway):
        OUT.print(line, soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--split", help="train, val or test; default: the split of the config")
    parser.add_argument(
        "--official", action="store_true", help="also print the benchmark's own mean (absent classes count as 0)"
    )
    parser.add_argument(
        "--level",
        choices=["element", "pixel"],
        default="element",
        help="pixel: also score the pixels of range images, the level of most published LiDAR numbers",
    )
    parser.add_argument(
        "--groups", nargs="+", default=[], metavar="NAME=CLASSES",
        help="also score groups of classes: how many points of a group got any of its classes",
    )  # fmt: skip
    parser.add_argument(
        "--half-resolution", action="store_true", help="score Cityscapes at 1024 x 512, as the BMVC 2020 paper does"
    )
    parser.add_argument(
        "--calibrate", action="store_true",
        help="fit a temperature on the split and write it into the checkpoint: confidence changes, labels do not",
    )  # fmt: skip
    parser.add_argument("--anyway", action="store_true", help="exit with 0 even if most scans do not fit the run")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)
