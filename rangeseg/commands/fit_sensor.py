"""`rangeseg fit-sensor`: the geometry of a sensor from its scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from rangeseg.commands.console import OUT, table, whole
from rangeseg.commands.fields import add_fields, requested_fields

EXAMPLES = (
    "rangeseg fit-sensor scans/ --out my_sensor.yaml --png my_sensor.png",
    "rangeseg fit-sensor a.bin b.bin --out my_sensor.yaml --compare-with hdl64e",
)


def run(arguments: argparse.Namespace) -> None:
    """Find rows, beams, field of view and point order of a sensor from its scans."""
    from rangeseg.apps.fit_sensor import candidates, compare, fit
    from rangeseg.benchmark.projections import points_per_ms

    fitted, scans, labels = fit(
        arguments.scans,
        arguments.out,
        png=arguments.png,
        max_scans=arguments.max_scans,
        name=arguments.name,
        fields=requested_fields(arguments),
        rows=arguments.rows,
    )
    projections = candidates(fitted, arguments.compare_with)
    lines = compare(projections, scans, labels)
    speed = points_per_ms({line.name: projections[line.name] for line in lines}, scans)
    rows = table("projection", "size", "filled %", "hidden %", "points/ms", "ceiling %", title=fitted.model.sensor)
    for line in lines:
        ceiling = "no labels" if line.ceiling is None else f"{100 * line.ceiling:.2f}"
        size = f"{line.height} x {line.width}"
        shares = (f"{100 * line.filled:.1f}", f"{100 * line.hidden:.2f}")
        rows.add_row(line.name, size, *shares, f"{speed[line.name]:,.0f}", ceiling)
    OUT.print("\n".join(fitted.words), soft_wrap=True)
    OUT.print(rows)
    OUT.print(
        f"sensor: {arguments.out}; its default projection is {fitted.model.projection}. In a config:", soft_wrap=True
    )
    OUT.print(f"  data: {{projection: {{name: sensor, sensor: {arguments.out}}}}}", soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("scans", nargs="+", type=Path, help="scan files of one sensor, or folders with scan files")
    parser.add_argument("--out", type=Path, required=True, help="output: the YAML of the sensor")
    add_fields(parser)
    parser.add_argument("--png", type=Path, help="draw the beams and one scan in each projection")
    parser.add_argument("--compare-with", nargs="+", default=[], help="other sensors: names, or YAMLs")
    parser.add_argument("--rows", type=whole(), help="number of beams; required if the scans do not determine it")
    parser.add_argument("--max-scans", type=whole(), default=8, help="maximum number of scans to read")
    parser.add_argument("--name", help="name of the sensor")
