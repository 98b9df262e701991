"""Labels for a sensor that is running."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangeseg.commands.console import OUT, add_trust
from rangeseg.commands.fields import requested_fields

if TYPE_CHECKING:
    from rangeseg.apps.live import Transport

EXAMPLES = (
    "rangeseg live runs/quick --input /points --output /points_labelled",
    "rangeseg live net.xml --input /lidar/points --output /labels --layout fields --reliable",
)


def run(arguments: argparse.Namespace) -> None:
    """Label the clouds of a ROS 2 topic as they come, without a ROS installation; a late scan is dropped."""
    from rangeseg.apps.live import run_live
    from rangeseg.apps.predict_recording import Labelling
    from rangeseg.inference.segmenter import Segmenter

    segmenter = Segmenter.load(
        arguments.run, device=arguments.device, overrides=arguments.overrides, trust=arguments.trust
    )
    labelling = Labelling(segmenter.label_map, arguments.layout, arguments.class_ids)
    names = (arguments.input, arguments.output)
    if arguments.transport == "rclpy":
        from rangeseg.apps.rclpy_node import Rclpy

        transport: Transport = Rclpy(*names, reliable=arguments.reliable)
    else:
        from rangeseg.apps.dds import Dds

        transport = Dds(*names, reliable=arguments.reliable, domain=arguments.domain)
    OUT.print(f"{arguments.input} -> {arguments.output}; Ctrl-C ends it.", soft_wrap=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell starts it in the background
        signal.signal(number, lambda *_: stopped.set())
    options: dict[str, Any] = {"fields": requested_fields(arguments), "limit_ms": arguments.limit_ms}
    counts = run_live(segmenter, transport, labelling, keep_running=lambda: not stopped.is_set(), **options)
    OUT.print(str(counts), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the command."""
    parser.add_argument("run", type=Path, help="run folder, checkpoint or exported file")
    parser.add_argument("--input", default="/points", help="topic of the clouds, sensor_msgs/PointCloud2")
    parser.add_argument("--output", default="/points_labelled", help="topic of the labels")
    parser.add_argument("--layout", choices=("autoware", "fields"), default="autoware", help="as of predict")
    parser.add_argument("--class-ids", choices=("autoware", "train"), default="autoware", help="as of predict")
    parser.add_argument("--fields", nargs="+", default=[], help="e.g. remission=reflectivity/255, ring=")
    parser.add_argument("--reliable", action="store_true", help="ask for lost parts again; else as sensor data")
    parser.add_argument("--domain", type=int, default=0, help="ROS_DOMAIN_ID")
    parser.add_argument("--transport", choices=("dds", "rclpy"), default="dds", help="rclpy where ROS 2 is installed")
    parser.add_argument("--limit-ms", type=float, default=100.0, help="of the 99th percentile, for /diagnostics")
    parser.add_argument("--device", default="auto", help="a torch device; auto: a GPU if there is one")
    add_trust(parser)
