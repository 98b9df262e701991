"""`rangeseg unpack`: recordings as single scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress
from rangeseg.commands.fields import add_fields, requested_fields

EXAMPLES = (
    "rangeseg unpack drive.mcap --out scans",
    "rangeseg unpack drive.bag --topic /points --fields remission=reflectivity/255 --out scans",
)


def run(arguments: argparse.Namespace) -> None:
    """Write the point clouds of a ROS bag, an MCAP file or a sensor capture as single scans."""
    from rangeseg.scan_formats.unpack import unpack

    fields = requested_fields(arguments)
    count, written = unpack(arguments.recording, arguments.out, topic=arguments.topic, fields=fields)
    files = list(progress(written, "unpacking", count))
    OUT.print(f"{len(files)} scans in {arguments.out}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("recording", type=Path, help=".bag, .mcap, .db3, the folder of a ROS 2 bag, .pcap or .osf")
    parser.add_argument("--out", type=Path, required=True, help="output folder for the scans NUMBER.npz")
    parser.add_argument("--topic", help="topic of the point clouds, if the recording has several")
    add_fields(parser)
