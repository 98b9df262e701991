"""The HTML page of a report: tables, curves and 3-D scans in one self-contained file.

The file contains everything: pictures as data, and `points.js`, which draws the points. The functions escape text.

Shapes: N points, K classes.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE
from rangeseg.version import __version__
from rangeseg.vis.panels import RIGHT, WRONG, Picture

FOLDER = Path(__file__).parent
MOST_POINTS = 60_000
"""Largest number of points of a scan; larger scans are thinned evenly."""


@dataclass(frozen=True)
class ReportSample:
    """A scan or photograph on the page.

    Args:
        name: name of the scan or photograph.
        words: a sentence about it.
        panel: picture of range, label, prediction and error; for photographs with the photograph instead of the range.
        xyz: (N, 3) metres; None shows only the panel.
        colorings: name -> (N,) train ids. The labels come first; each other colouring is also shown as errors.
    """

    name: str
    words: str
    panel: Picture
    xyz: NDArray[np.floating] | None = None
    colorings: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)


def page(title: str, sections: Iterable[str], shown: Sequence[ReportSample], label_map: LabelMap) -> bytes:
    """The content of the whole file.

    Args:
        title: plain text.
        sections: HTML, made by the functions below.
        shown: the samples that were given to `scans`, in the same order.
        label_map: the classes.

    Returns:
        The page in UTF-8.
    """
    palette = [*map(_rgb, label_map.colors), [70, 72, 76], list(RIGHT), list(WRONG)]
    scans = [_points(one, label_map.num_classes) for one in shown if one.xyz is not None]
    points = _json_in_html({"palette": palette, "scans": scans})
    template = Template((FOLDER / "page.html").read_text("utf-8"))
    script = (FOLDER / "points.js").read_text("utf-8")
    return template.substitute(
        title=escape(title), version=__version__, body="\n".join(sections), points=points, script=script
    ).encode()


def _json_in_html(value: Any) -> str:
    """JSON in which `<`, `>` and `&` are escaped, so that no name in it is read as markup of the page."""
    text = json.dumps(value)  # ASCII, so that line separators are escaped already
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def heading(text: str, words: str = "") -> str:
    """A section's title and, if given, an explanation."""
    return f"<h2>{escape(text)}</h2>" + (f"<p class='soft'>{escape(words)}</p>" if words else "")


def paragraph(text: str, *, soft: bool = False) -> str:
    """Plain text; soft is smaller and lighter."""
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, colors: Sequence[Sequence[int]] = ()) -> str:
    """A table whose first column names the rows.

    Args:
        head: one text per column.
        rows: one text per cell.
        colors: RGB of each row; empty for none.
    """
    lines = []
    for number, row in enumerate(rows):
        chip = f"<span class='chip' style='background: rgb{tuple(_rgb(colors[number]))}'></span>" if colors else ""
        cells = "".join(f"<td>{chip if place == 0 else ''}{escape(cell)}</td>" for place, cell in enumerate(row))
        lines.append(f"<tr>{cells}</tr>")
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def confusion(state: NDArray[np.integer], names: Sequence[str]) -> str:
    """A table of (K, K+1) counts, rows are labels: shares of each row in per cent; counts under the mouse pointer."""
    columns = [*names, "no class"] if state[:, -1].any() else list(names)
    lines = []
    for name, counts in zip(names, state[:, : len(columns)], strict=True):
        total = int(counts.sum())
        cells = "".join(
            f"<td style='background: rgba(var(--fill), {count / total if total else 0:.3f})' "
            f"title='{escape(f'{name} as {other}: {count:,} of {total:,}')}'>"
            f"{f'{100 * count / total:.0f}' if total and count / total >= 0.005 else ''}</td>"
            for other, count in zip(columns, counts.tolist(), strict=True)
        )
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    top = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(lines)
    whole = f"<thead><tr><th></th>{top}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='wide'><table class='confusion'>{whole}</table></div>"


def pictures(drawn: Mapping[str, Picture]) -> str:
    """Pictures side by side, with their captions below."""
    parts = (
        f"<figure><img alt='{escape(name)}' src='{_png(picture)}'><figcaption>{escape(name)}</figcaption></figure>"
        for name, picture in drawn.items()
    )
    return f"<div class='curves'>{''.join(parts)}</div>"


def beside(drawn: Mapping[str, Picture]) -> str:
    """Pictures of the same size in one row, with their captions above."""
    parts = (
        f"<figure><figcaption>{escape(name)}</figcaption><img alt='{escape(name)}' src='{_png(picture)}'></figure>"
        for name, picture in drawn.items()
    )
    return f"<div class='beside'>{''.join(parts)}</div>"


def legend(label_map: LabelMap) -> str:
    """The names and colours of the classes."""
    chips = "".join(
        f"<span><span class='chip' style='background: rgb{tuple(_rgb(color))}'></span>{escape(name)}</span>"
        for name, color in zip(label_map.names, label_map.colors, strict=True)
    )
    return f"<p class='legend'>{chips}</p>"


def folded(summary: str, text: str) -> str:
    """Long text that is hidden until its summary is clicked."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"


def scans(shown: Sequence[ReportSample], label_map: LabelMap) -> str:
    """The panels of each sample and, for scans, an area with its points in 3-D; a legend of the classes comes first."""
    parts = [legend(label_map)]
    for one in shown:
        parts.append(f"<h3>{escape(one.name)}</h3><p class='soft'>{escape(one.words)}</p>")
        parts.append(f"<figure><img alt='panels of {escape(one.name)}' src='{_png(one.panel)}'></figure>")
        if one.xyz is not None:
            parts.append("<div class='points'><div class='layers'></div><canvas></canvas></div>")
    return "".join(parts)


def _points(one: ReportSample, classes: int) -> dict[str, object]:
    """A scan's points for `points.js`: train ids, `classes` for IGNORE, `classes` + 1 for right, + 2 for wrong."""
    assert one.xyz is not None
    shown = np.flatnonzero(np.isfinite(one.xyz).all(axis=1) & (np.abs(one.xyz) < 300).all(axis=1))
    shown = shown[:: max(1, -(-len(shown) // MOST_POINTS))]
    layers, truth = [], None
    for name, ids in one.colorings.items():
        ids = ids[shown]
        layers.append({"name": name, "ids": _base64(np.where(ids == IGNORE, classes, ids).astype(np.uint8))})
        if truth is None:
            truth = ids
            continue
        error = np.where(truth == IGNORE, classes, np.where(ids == truth, classes + 1, classes + 2))
        layers.append({"name": f"{name}: errors", "ids": _base64(error.astype(np.uint8))})
    return {"xyz": _base64(np.rint(one.xyz[shown] * 100).astype("<i2")), "layers": layers}


def _base64(values: NDArray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _png(picture: Picture) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).quantize(255).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _rgb(color: Iterable[int]) -> list[int]:
    return [int(part) for part in color]
