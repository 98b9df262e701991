"""The option `--fields` of commands that read scans."""

from __future__ import annotations

import argparse
import json


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Declare `--fields`; see `rangeseg.scan_formats.fields.FieldNames`."""
    parser.add_argument(
        "--fields",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help="columns of the scans, e.g. remission=intensity/255 ring= unit=mm, or 'columns=x y z intensity ring'",
    )


def requested_fields(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The value of `--fields`.

    Raises:
        ValueError: a word without an equals sign, or an unknown name.
    """
    from rangeseg.scan_formats.fields import check_names

    requested = dict(pair.split("=", 1) for pair in arguments.fields if "=" in pair)
    if len(requested) < len(arguments.fields):
        raise ValueError("--fields takes NAME=COLUMN, e.g. remission=reflectivity/255 ring=line.")
    found = {name: column or None for name, column in requested.items()}
    check_names(found)
    return found


def with_fields(arguments: argparse.Namespace) -> list[str]:
    """The overrides of the command line, with `--fields` as an override of `data.dataset.fields`."""
    fields = requested_fields(arguments)
    return [*arguments.overrides, *([f"data.dataset.fields={json.dumps(fields)}"] if fields else [])]
