"""`rangeseg list`: the components that a config can name."""

from __future__ import annotations

import argparse

from rangeseg import catalog
from rangeseg.commands.console import OUT, table

EXAMPLES = ("rangeseg list networks", "rangeseg list perturbations")

TABLES = {
    "networks": catalog.NETWORKS,
    "perturbations": catalog.PERTURBATIONS,
    "methods": catalog.METHODS,
    "datasets": catalog.DATASETS,
    "projections": catalog.PROJECTIONS,
    "back-projections": catalog.BACK_PROJECTIONS,
    "loggers": catalog.LOGGERS,
}


def run(arguments: argparse.Namespace) -> None:
    """List shipped networks, perturbations, methods, datasets, projections, back-projections, loggers or sensors."""
    if arguments.kind == "sensors":
        from rangeseg.resources import resource
        from rangeseg.sensors import read_sensor

        lines = {path.stem: read_sensor(path).sensor for path in sorted(resource("datasets", "sensors").glob("*.yaml"))}
    else:
        lines = {name: TABLES[arguments.kind].summary(name) for name in TABLES[arguments.kind]}
    rows = table("name", arguments.kind)
    for name, words in lines.items():
        rows.add_row(name, words)
    OUT.print(rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("kind", choices=[*TABLES, "sensors"], help="what to list")
