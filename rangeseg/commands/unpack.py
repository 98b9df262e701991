"""`rangeseg unpack`: recordings as single scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, progress

EXAMPLES = (
    "rangeseg unpack drive.mcap --out scans",
    "rangeseg unpack drive.bag --topic /points --fields remission=reflectivity/255 --out scans",
)


def run(arguments: argparse.Namespace) -> None:
    """Write the point clouds of a ROS bag, an MCAP file or a sensor capture as single scans."""
    from rangeseg.scan_formats.unpack import unpack

    asked = dict(pair.split("=", 1) for pair in arguments.fields if "=" in pair)
    if len(asked) < len(arguments.fields):
        raise ValueError("--fields takes NAME=COLUMN, e.g. remission=reflectivity/255 ring=line.")
    fields = {name: column or None for name, column in asked.items()}
    count, written = unpack(arguments.recording, arguments.out, topic=arguments.topic, fields=fields)
    files = list(progress(written, "unpacking", count))
    OUT.print(f"{len(files)} scans in {arguments.out}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("recording", type=Path, help=".bag, .mcap, .db3, the folder of a ROS 2 bag, .pcap or .osf")
    parser.add_argument("--out", type=Path, required=True, help="output folder for the scans NUMBER.npz")
    parser.add_argument("--topic", help="topic of the point clouds, if the recording has several")
    parser.add_argument(
        "--fields",
        nargs="+",
        default=[],
        help="names of columns, e.g. remission=reflectivity/255; NAME= leaves a field out",
    )
