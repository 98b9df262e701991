"""`rangeseg benchmark`: timing."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, add_trust, table, whole

EXAMPLES = (
    "rangeseg benchmark /data/semantic_kitti",
    "rangeseg benchmark /data/semantic_kitti --inference runs/quick --json times.json",
)


def run(arguments: argparse.Namespace) -> None:
    """Time each stage against a plain implementation."""
    from rangeseg.benchmark.run import run as work
    from rangeseg.benchmark.run import run_inference, run_photos

    if arguments.photos:
        run_photos(arguments.photos, arguments.overrides, json_path=arguments.json, repeats=arguments.repeats)
        return
    if arguments.data is None:
        raise ValueError("Nothing to time. Give the folder of SemanticKITTI, or --photos CONFIG.")
    if arguments.engines:
        compare_engines(arguments)
        return
    if arguments.inference:
        run_inference(
            arguments.data, arguments.inference, arguments.overrides, device=arguments.device,
            json_path=arguments.json, picture=arguments.plot, repeats=arguments.repeats, scores=arguments.scores,
            trust=arguments.trust,
        )  # fmt: skip
        return
    if arguments.overrides and not arguments.configs:
        raise ValueError(
            f"{arguments.overrides[0]}: an override needs a config. Give one with --configs, --inference, --engines or "
            "--photos."
        )
    work(
        arguments.data, configs=arguments.configs, overrides=arguments.overrides, json_path=arguments.json,
        repeats=arguments.repeats,
    )  # fmt: skip


def compare_engines(arguments: argparse.Namespace) -> None:
    """Time and score one run in every engine, and print a table."""
    from rangeseg.benchmark.engines import benchmark_engines
    from rangeseg.benchmark.inference import load_run
    from rangeseg.benchmark.run import write_lines
    from rangeseg.commands.export import inputs_of

    run = load_run(arguments.engines, arguments.data, arguments.overrides, "cpu", arguments.trust)
    scans, calibration = inputs_of(run, [], 40), inputs_of(run, arguments.calibrate, 40)
    whole = ("points to labels: least, ms", "median", "99 %")
    rows = table("engine", "cpu ms", "forward ms", *whole, "mIoU", "equal labels %")
    engines = []
    for one in benchmark_engines(run, scans, calibration, arguments.repeats, arguments.only):
        engines.append(one)
        durations_ms = (one.cpu_ms, one.forward_ms, one.latency_least_ms, one.latency_ms, one.latency_99_ms)
        times = (f"{value:.1f}" for value in durations_ms)
        shares = (f"{100 * value:.2f}" for value in (one.mean_iou, one.equal))
        rows.add_row(one.name, *((one.problem, *[""] * 6) if one.problem else (*times, *shares)))
    OUT.print(rows)
    if arguments.json:
        write_lines(arguments.json, "cpu", {"engines": engines})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        help="the folder that holds SemanticKITTI's sequences/; with --inference, the folder of the runs' dataset",
    )
    parser.add_argument("--photos", help="time the loading of this config's photographs instead")
    parser.add_argument(
        "--configs", nargs="+", default=[], help="time a training step of each of these configs instead"
    )
    parser.add_argument(
        "--inference",
        type=Path,
        nargs="+",
        default=[],
        help="time these runs and configs from points to labels instead",
    )
    parser.add_argument(
        "--engines",
        type=Path,
        help="compare this run, or the untrained network of a config, in every engine instead",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ENGINE", help="with --engines: e.g. 'OpenVINO int8'")
    parser.add_argument("--calibrate", type=Path, nargs="+", default=[], help="scans for the int8 of --engines")
    parser.add_argument("--device", default="cpu", help="device for --inference")
    parser.add_argument("--plot", type=Path, help="plot accuracy against time of the runs of --inference")
    parser.add_argument("--scores", type=Path, help="a folder of rangeseg repeat with the scores for --plot")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--repeats", type=whole(), default=20, help="number of repetitions; the median is reported")
    add_trust(parser)
