"""`rangeseg live`: labels for a running sensor."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangeseg.commands.console import OUT, add_trust, add_unsure
from rangeseg.commands.fields import add_fields, requested_fields

if TYPE_CHECKING:
    from rangeseg.apps.live import Transport

EXAMPLES = (
    "rangeseg live runs/quick --input /points --output /points_labelled",
    "rangeseg live net.xml --input /lidar/points --output /labels --layout fields --reliable",
)


def run(arguments: argparse.Namespace) -> None:
    """Label the point clouds of a ROS 2 topic in real time, without a ROS installation; drop late scans."""
    from rangeseg.apps.live import run_live
    from rangeseg.apps.predict_recording import Labelling
    from rangeseg.inference.labelled_files import least_sure
    from rangeseg.inference.segmenter import Segmenter

    fields = requested_fields(arguments)
    if not (arguments.input.strip("/") and arguments.output.strip("/")):
        raise ValueError("--input and --output need the names of topics, for example /points.")
    segmenter = Segmenter.load(
        arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust
    )
    least = least_sure(arguments.unsure, segmenter.label_map)
    labelling = Labelling(segmenter.label_map, arguments.layout, arguments.class_ids, unsure=least)
    names = (arguments.input, arguments.output)
    if arguments.transport == "rclpy":
        from rangeseg.apps.rclpy_node import Rclpy

        transport: Transport = Rclpy(*names, reliable=arguments.reliable, domain=arguments.domain)
    else:
        from rangeseg.apps.dds import Dds

        transport = Dds(*names, reliable=arguments.reliable, domain=arguments.domain)
    OUT.print(f"{arguments.input} -> {arguments.output}; stop with Ctrl-C", soft_wrap=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # also if a shell starts the command in the background
        signal.signal(number, lambda *_: stopped.set())
    options: dict[str, Any] = {"fields": fields, "limit_ms": arguments.limit_ms}
    counts = run_live(segmenter, transport, labelling, keep_running=lambda: not stopped.is_set(), **options)
    OUT.print(str(counts), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", type=Path, help="run folder, checkpoint or exported file")
    parser.add_argument("--input", default="/points", help="topic of the point clouds (sensor_msgs/PointCloud2)")
    parser.add_argument("--output", default="/points_labelled", help="topic of the labelled clouds")
    parser.add_argument(
        "--layout", choices=("autoware", "fields"), default="autoware", help="fields of the labelled cloud; see predict"
    )
    parser.add_argument("--class-ids", choices=("autoware", "train"), default="autoware", help="see predict")
    add_fields(parser)
    parser.add_argument("--reliable", action="store_true", help="use reliable QoS; default: best effort")
    parser.add_argument("--domain", type=int, help="ROS domain; default: ROS_DOMAIN_ID of the environment, else 0")
    parser.add_argument("--transport", choices=("dds", "rclpy"), default="dds", help="rclpy needs ROS 2 Jazzy or later")
    parser.add_argument(
        "--limit-ms",
        type=float,
        default=100.0,
        help="warn on /diagnostics if the 99th percentile of the latency is higher",
    )
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_unsure(parser)
    add_trust(parser)
