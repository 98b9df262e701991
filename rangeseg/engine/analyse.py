"""`rangeseg analyse`: what a config's views are like, before anything is learnt from them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rangeseg.analysis.patch_distance import Anchors, Nearest, draw_anchors, nearest, neighbours, separability
from rangeseg.components import ConfigError
from rangeseg.config import Config
from rangeseg.engine.experiment import make_views, modality, open_source
from rangeseg.files import write_atomically
from rangeseg.types import View
from rangeseg.vis.plots import Axes, plot

FARTHEST = 10
"""Pairs at least so far from a boundary, pixels, are counted together."""

Named = Sequence[tuple[str, View]]


def config_views(config: Config, split: str, *, every: int = 1) -> Iterator[tuple[str, View]]:
    """Names and whole views of a split, labelled and not augmented.

    Args:
        config: `data` is read.
        split: train, val or test.
        every: only every n-th.
    """
    views = make_views(config, open_source(config, split))
    for index in range(0, len(views), every):
        yield views.name(index), views.sample(index).view


def patch_distance(
    config: Config,
    out: Path,
    *,
    split: str = "train",
    patches: Sequence[int] = (3, 7, 15),
    anchors: int = 4000,
    every: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure distances of patches, and write them as JSON and as a picture.

    Args:
        config: whose views are measured.
        out: folder for ``patch_distance.json`` and ``patch_distance.png``.
        split: train, val or test; it must have labels.
        patches: sides of the patches, pixels, odd.
        anchors: patches drawn for the nearest-neighbour part, in all.
        every: only every n-th scan or photograph.
        seed: of the drawing.

    Returns:
        What is in the JSON.

    Raises:
        ConfigError: the split has no labels.
        ValueError: a patch is even or larger than a view.
    """
    named = list(config_views(config, split, every=every))
    wrap = modality(config).wrap
    result: dict[str, Any] = {
        "dataset": str(config.data.dataset["name"]),
        "split": split,
        "views": len(named),
        "size": list(named[0][1].valid.shape),
        "channels": list(config.data.channels),
        "seed": seed,
        "patches": {},
    }
    for patch in patches:
        result["patches"][str(patch)] = {
            "neighbours": _neighbours(named, patch, wrap),
            "nearest": _nearest(named, patch, anchors, seed, wrap),
        }
    write_atomically(out / "patch_distance.json", json.dumps(result, indent=2).encode())
    picture = io.BytesIO()
    Image.fromarray(draw(result)).save(picture, "PNG")
    write_atomically(out / "patch_distance.png", picture.getvalue())
    return result


def _neighbours(named: Named, patch: int, wrap: bool) -> dict[str, Any]:
    """Mean distance by the distance from a boundary, relative to all pairs, and how well it tells boundaries."""
    sums, counts = np.zeros((2, FARTHEST + 1))
    ranks = []
    for _, view in named:
        pairs = neighbours(view, patch, wrap=wrap)
        place = np.minimum(pairs.from_boundary, FARTHEST)
        sums += np.bincount(place, pairs.distance, FARTHEST + 1)
        counts += np.bincount(place, minlength=FARTHEST + 1)
        ranks.append(separability(pairs.distance, place == 0))
    if not counts.any():
        raise ConfigError("There are no labels to find boundaries by: choose a labelled split.")
    mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    overall = sums.sum() / counts.sum()
    return {
        "mean": overall,
        "by_distance_from_boundary": [_plain(value) for value in mean],
        "relative": [_plain(value / overall) for value in mean],
        "pairs": [int(count) for count in counts],
        "separability": _plain(float(np.nanmean(ranks))),
    }


def _nearest(named: Named, patch: int, anchors: int, seed: int, wrap: bool) -> dict[str, Any]:
    """Distances to the nearest patch of the same and of another class in other scenes."""
    scenes = sorted({scene_of(name) for name, _ in named})
    each = -(-anchors // len(named))
    drawn = Anchors.join(
        [
            draw_anchors(
                view, patch, each, np.random.default_rng((seed, index)), group=scenes.index(scene_of(name)), wrap=wrap
            )
            for index, (name, view) in enumerate(named)
        ]
    )
    found = nearest(drawn)
    both = np.isfinite(found.same) & np.isfinite(found.other)
    if not both.any():
        return {"anchors": 0, "scenes": len(scenes)}
    same, other = found.same[both], found.other[both]
    return {
        "anchors": int(both.sum()),
        "scenes": len(scenes),
        "same_class_is_nearer": float((same < other).mean()),
        "by_chance": _by_chance(found, both),
        "same_quantiles": [float(v) for v in np.quantile(same, np.linspace(0, 1, 21))],
        "other_quantiles": [float(v) for v in np.quantile(other, np.linspace(0, 1, 21))],
        "same_class_is_nearer_by_class": {
            int(label): float((same < other)[found.label[both] == label].mean())
            for label in np.unique(found.label[both])
        },
    }


def _by_chance(found: Nearest, both: np.ndarray) -> float:
    """How often the nearest would be of the same class if distances said nothing: the mean share of one's own class."""
    share = np.bincount(found.label[both]) / both.sum()
    return float((share**2).sum())


def scene_of(name: str) -> str:
    """The part of a scan's or photograph's name that those of one drive share: up to the first / or _."""
    return re.split(r"[/_]", name)[0]


def draw(result: dict[str, Any]) -> np.ndarray:
    """Both parts side by side.

    Args:
        result: of `patch_distance`.
    """
    title = f"{result['dataset']}, {result['size'][0]} x {result['size'][1]}"
    places = list(range(FARTHEST + 1))
    lines = {
        f"{patch} x {patch} (AUC {_shown(part['neighbours']['separability'])})": (
            places,
            [np.nan if value is None else value for value in part["neighbours"]["relative"]],
        )
        for patch, part in result["patches"].items()
    }
    names = (*map(str, places[:-1]), f"{FARTHEST}+")
    axes = Axes(title, "distance from a class boundary, pixels", "distance of neighbours / its mean", names)
    pictures = [plot(lines, axes)]
    patch, part = list(result["patches"].items())[len(result["patches"]) // 2]
    if part["nearest"]["anchors"]:
        quantiles = {kind: part["nearest"][f"{kind}_quantiles"][:-1] for kind in ("same", "other")}  # less the farthest
        curves = {f"{kind} class": (values, [5 * i for i in range(len(values))]) for kind, values in quantiles.items()}
        title = f"nearest {patch} x {patch} patch in another scene"
        axes = Axes(title, "its distance, standard deviations", "% of patches", legend="bottom")
        pictures.append(plot(curves, axes))
    return np.concatenate(pictures, axis=1)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
