"""One training view of a photograph (read, crop, scale, normalise, map labels) against Pillow and NumPy."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.benchmark.timing import Row, compare
from rangeseg.config import Config, read_config
from rangeseg.engine.experiment import Experiment
from rangeseg.photos.augment import PhotoAugmentation
from rangeseg.photos.pairs import PhotoPairs

MOST = 64
"""Largest number of different photographs that are read, one after the other."""


def benchmark_photos(path: Path, overrides: list[str], *, repeats: int = 20) -> list[Row]:
    """Time the labelled views of a config, from the files and from memory, in turns with the baseline.

    Args:
        path: a config of photographs; its `data` is read.
        overrides: `key.path=value` for the config.
        repeats: rounds, each of one view.

    Returns:
        The table's lines; milliseconds of one view on one core.

    Raises:
        ValueError: the config is not of photograph files.
    """
    config: Config = read_config(path, [*overrides, "runtime.out=."])
    experiment = Experiment(config)
    source = experiment.open("train")
    if not isinstance(source, PhotoPairs):
        raise ValueError(f"{path}: is not a config of photograph files; name a config such as camvid.")
    views = experiment.views(source, augment=True)
    without = Experiment(replace(config, data=replace(config.data, memory_mb=0)))
    reading: Any = without.views(source, augment=True)
    number, rng, turn = min(MOST, len(source)), np.random.default_rng(0), count()
    table = np.full(256, 255, np.int64)
    table[list(source.label_map.learning_map)] = list(source.label_map.learning_map.values())
    shape: PhotoAugmentation = reading.augmentation
    mean, std = np.array(config.data.mean, np.float32), np.array(config.data.std, np.float32)
    for index in range(number):
        views.view(index, rng)
    candidates = {
        "Pillow and NumPy": lambda: numpy_view(source, next(turn) % number, shape, table, (mean, std), rng),
        "Pillow alone, decoding the two files": lambda: decode(source, next(turn) % number),
        "rangeseg, from the files": lambda: reading.view(next(turn) % number, rng),
        "rangeseg, from memory": lambda: views.view(next(turn) % number, rng),
    }
    name = config.data.dataset["name"]
    return compare(candidates, repeats).rows(f"{name} {shape.crop[0]}x{shape.crop[1]}")


def decode(source: PhotoPairs, index: int) -> tuple[NDArray, NDArray]:
    """The pixels of a photograph and of its label image."""
    pair = source.pair(index)
    assert pair.label is not None
    with Image.open(pair.file) as image, Image.open(pair.label) as label:
        return np.asarray(image), np.asarray(label)


def numpy_view(
    source: PhotoPairs,
    index: int,
    shape: PhotoAugmentation,
    table: NDArray[np.int64],
    line: tuple[NDArray[np.float32], NDArray[np.float32]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """A view as usual loaders make it: they crop first, so that only the crop is scaled and converted to float.

    Args:
        source: the files.
        index: index of the photograph.
        shape: crop, scales and mirroring.
        table: (256,) raw id -> train id.
        line: mean and std, (C,) each.
        rng: source of the random scale, crop and mirroring.

    Returns:
        image (C, H, W), valid (H, W), label (H, W).
    """
    pair = source.pair(index)
    assert pair.label is not None
    image, label = Image.open(pair.file).convert("RGB"), Image.open(pair.label)
    scale = rng.choice(shape.scales)
    height, width = (round(side / scale) for side in shape.crop)
    top, left = (
        int(rng.integers(0, extra + 1)) if extra > 0 else extra // 2
        for extra in (image.height - height, image.width - width)
    )
    box, size = (left, top, left + width, top + height), (shape.crop[1], shape.crop[0])
    valid = Image.new("L", image.size, 255).crop(box).resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(image.crop(box).resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    inside = np.asarray(valid) > 0
    ids = np.asarray(label.crop(box).resize(size, Image.Resampling.NEAREST))
    pixels = (pixels - line[0]) / line[1] * inside[..., None]
    train = np.where(inside, table[ids], 255)
    if rng.random() < shape.flip_x:
        pixels, inside, train = pixels[:, ::-1], inside[:, ::-1], train[:, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), inside.copy(), train.copy()
