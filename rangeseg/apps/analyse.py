"""`rangeseg analyse`: measurements of a config's views before training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rangeseg.analysis.patch_distance import Anchors, draw_anchors, nearest, neighbours, separability
from rangeseg.config import Config
from rangeseg.engine.experiment import Experiment
from rangeseg.files import write_atomically
from rangeseg.registry import ConfigError
from rangeseg.types import IGNORE, View
from rangeseg.vis.plots import Axes, plot
from rangeseg.vis.png import write_png

FARTHEST = 10
"""Pairs at this distance from a boundary or farther, pixels, are counted together."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
RARE = 0.01
"""A class, or a pair of classes, is listed only if its share of the pairs is larger."""
KINDS = IGNORE + 1
"""Base in which a pair of train ids is encoded as one number."""

Named = Sequence[tuple[str, View]]


def config_views(config: Config, split: str, *, every: int = 1) -> Iterator[tuple[str, View]]:
    """Names and whole views of a split, with labels and without augmentation.

    Args:
        config: `data` is read.
        split: train, val or test.
        every: use only every n-th view.
    """
    experiment = Experiment(config)
    views = experiment.views(experiment.open(split))
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
        config: config of the views.
        out: folder for ``patch_distance.json`` and ``patch_distance.png``.
        split: train, val or test; it must have labels.
        patches: side lengths of the patches, pixels; odd.
        anchors: total number of patches drawn for the nearest-neighbour search.
        every: use only every n-th scan or photograph.
        seed: seed for drawing the patches.

    Returns:
        The content of the JSON file.

    Raises:
        ConfigError: the split has no labels.
        ValueError: a patch is even or larger than a view.
    """
    named = list(config_views(config, split, every=every))
    experiment = Experiment(config)
    wrap, names = experiment.input.wrap, experiment.label_map.names
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
            "neighbours": _neighbours(named, patch, wrap, names),
            "nearest": _nearest(named, patch, anchors, seed, wrap, names),
        }
    write_atomically(out / "patch_distance.json", json.dumps(result, indent=2).encode())
    write_png(out / "patch_distance.png", draw(result))
    return result


def _neighbours(named: Named, patch: int, wrap: bool, names: Sequence[str]) -> dict[str, Any]:
    """Patch distances by class and by distance from a boundary; how well they separate boundaries, by direction."""
    parts = []
    ranks: dict[str, list[float]] = {}
    for _, view in named:
        pairs = neighbours(view, patch, wrap=wrap)
        for way, rows in _ways(pairs.below).items():
            rank = separability(pairs.distance[rows], pairs.from_boundary[rows] == 0)
            ranks.setdefault(way, []).append(rank)
        kinds = pairs.labels.min(1) * KINDS + pairs.labels.max(1)
        places = np.minimum(pairs.from_boundary, FARTHEST)
        # small types, because each pixel of each view has two pairs
        parts.append((pairs.distance.astype("f4"), places.astype("u1"), kinds.astype("u2"), pairs.below))
    distance, place, kind, below = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not len(distance):
        raise ConfigError("The split has no labels to find class boundaries. Choose a labelled split.")
    bins = [distance[place == at] for at in range(FARTHEST + 1)]
    mean = np.array([_mean(part) for part in bins])
    overall = _mean(distance)
    scale = overall or 1.0  # the mean is 0 if all views are constant
    return {
        "mean": overall,
        "by_distance_from_boundary": [_plain(value) for value in mean],
        "relative": [_plain(value / scale) for value in mean],
        "quantiles": [[float(value) for value in np.quantile(part, QUANTILES)] if len(part) else None for part in bins],
        "pairs": [len(part) for part in bins],
        **{f"separability{way}": _plain(_mean(np.array(values))) for way, values in ranks.items()},
        **{f"contrast{way}": _contrast(distance[rows], place[rows]) for way, rows in _ways(below).items()},
        "borders": _by_classes(bins[0] / scale, kind[place == 0], names),
        "insides": _by_classes(bins[-1] / scale, kind[place == FARTHEST], names),
    }


def _ways(below: np.ndarray) -> dict[str, np.ndarray]:
    """Suffix of a key -> mask of its pairs: all pairs, horizontal ones, vertical ones."""
    return {"": np.ones_like(below), "_right": ~below, "_below": below}


def _contrast(distance: np.ndarray, place: np.ndarray) -> float | None:
    """Mean distance across boundaries divided by the mean distance far from them; None if undefined."""
    across, far = (_mean(distance[place == at]) for at in (0, FARTHEST))
    return _plain(across / far) if far else None


def _mean(values: np.ndarray) -> float:
    """Mean of the finite values; nan if there are none."""
    finite = values[~np.isnan(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else float("nan")


def _by_classes(relative: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of the pairs and their mean relative distance, by class or pair of classes, the most frequent first."""
    counts = np.bincount(kind, minlength=1)
    means = np.bincount(kind, relative, len(counts)) / np.maximum(counts, 1)
    common = [one for one in np.argsort(-counts, kind="stable") if counts[one] > RARE * len(kind)]
    return {
        " | ".join(dict.fromkeys(names[train_id] for train_id in divmod(int(one), KINDS))): {
            "share": float(counts[one] / len(kind)),
            "relative": float(means[one]),
        }
        for one in common
    }


def _nearest(named: Named, patch: int, anchors: int, seed: int, wrap: bool, names: Sequence[str]) -> dict[str, Any]:
    """Distances to the nearest patch of the same and of another class in other scenes, also for equal pools of both."""
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
    of_all, even = nearest(drawn), nearest(drawn, even=np.random.default_rng((seed, len(named))))
    both = (of_all.compared > 0).all(1)
    if not both.any():
        return {"anchors": 0, "scenes": len(scenes)}
    pools = of_all.compared[both]
    same, other, label = even.same[both], even.other[both], even.label[both]
    return {
        "anchors": int(both.sum()),
        "scenes": len(scenes),
        "same_class_is_nearer": float((of_all.same < of_all.other)[both].mean()),
        "by_chance": float((pools[:, 0] / pools.sum(1)).mean()),
        "of_as_many": {
            "same_class_is_nearer": float((same < other).mean()),
            "same_class_is_nearer_by_class": {
                names[int(one)]: float((same < other)[label == one].mean()) for one in np.unique(label)
            },
            "same_quantiles": [float(v) for v in np.quantile(same, np.linspace(0, 1, 21))],
            "other_quantiles": [float(v) for v in np.quantile(other, np.linspace(0, 1, 21))],
        },
    }


def scene_of(name: str) -> str:
    """The scene or drive in the name of a scan or photograph: the part before the first / or _."""
    return re.split(r"[/_]", name)[0]


def draw(result: dict[str, Any]) -> np.ndarray:
    """Draw both parts of a result side by side.

    Args:
        result: result of `patch_distance`.
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
        even = part["nearest"]["of_as_many"]
        quantiles = {kind: even[f"{kind}_quantiles"][:-1] for kind in ("same", "other")}  # without the largest distance
        curves = {f"{kind} class": (values, [5 * i for i in range(len(values))]) for kind, values in quantiles.items()}
        title = f"nearest {patch} x {patch} patch in another scene, equal pools of both classes"
        axes = Axes(title, "its distance, standard deviations", "% of patches", legend="bottom")
        pictures.append(plot(curves, axes))
    return np.concatenate(pictures, axis=1)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
