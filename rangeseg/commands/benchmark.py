"""Times."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = (
    "rangeseg benchmark /data/semantic_kitti",
    "rangeseg benchmark /data/semantic_kitti --inference runs/quick --json times.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Time each stage beside a plain implementation of it."""
    from rangeseg.benchmark.run import run as work
    from rangeseg.benchmark.run import run_inference, run_photos

    if arguments.photos:
        run_photos(arguments.photos, arguments.overrides, json_path=arguments.json, repeats=arguments.repeats)
        return
    if arguments.data is None:
        raise ValueError("There is nothing to time. Give SemanticKITTI's folder, or --photos CONFIG.")
    if arguments.inference:
        run_inference(
            arguments.data, arguments.inference, arguments.overrides, device=arguments.device,
            json_path=arguments.json, picture=arguments.plot, repeats=arguments.repeats, scores=arguments.scores,
        )  # fmt: skip
        return
    work(arguments.data, configs=arguments.configs, json_path=arguments.json, repeats=arguments.repeats)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        help="the folder that holds SemanticKITTI's sequences/; of --inference, that of the configs' dataset",
    )
    parser.add_argument("--photos", help="the loading of this config's photographs instead")
    parser.add_argument("--configs", nargs="+", default=[], help="a training step of each of these instead")
    parser.add_argument("--inference", type=Path, nargs="+", default=[], help="these runs and configs at work instead")
    parser.add_argument("--device", default="cpu", help="of --inference")
    parser.add_argument("--plot", type=Path, help="draw accuracy against time of --inference's runs")
    parser.add_argument("--scores", type=Path, help="a folder of rangeseg repeat with scores for --inference")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--repeats", type=int, default=20, help="runs of each part, of which the median counts")
