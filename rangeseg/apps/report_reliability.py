"""The report's part on confidence: a reliability diagram, and the calibration error of each run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rangeseg.evaluation.reliability import Reliability
from rangeseg.vis.plots import Axes, Line, plot
from rangeseg.vis.report import heading, pictures, table

EXACT = "perfect calibration"


def reliability(found: Mapping[str, tuple[Reliability | None, float]]) -> list[str]:
    """HTML of the diagram and the table; empty if no confidence was counted for any run.

    Args:
        found: name of the run -> its counts and its temperature.
    """
    known = {name: (one, heat) for name, (one, heat) in found.items() if one is not None and one.count}
    if not known:
        return []
    lines: dict[str, Line] = {}
    rows = []
    for name, (one, heat) in known.items():
        curve = 100 * np.array(one.curve())
        lines[name] = (curve[:, 3].tolist(), curve[:, 4].tolist())
        sure, right = one.means()
        rows.append((name, f"{100 * one.error():.1f}", f"{100 * sure:.1f}", f"{100 * right:.1f}", f"{heat:.3g}"))
    lines[EXACT] = ([0, 100], [0, 100])
    words = (
        "The share of right labels by the confidence of the network. Below the diagonal, the network is overconfident; "
        "rangeseg evaluate RUN --calibrate fits a temperature."
    )
    chart = plot(lines, Axes("", "confidence, %", "right, %", legend="bottom"))
    columns = ("", "calibration error (ECE) %", "mean confidence %", "right %", "temperature")
    return [heading("Confidence", words), pictures({"accuracy by confidence": chart}), table(columns, rows)]
