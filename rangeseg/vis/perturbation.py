"""A picture of a perturbation: two views, the source of each pixel of the student's view, the view, the target.

Shapes: B views, C channels, K classes, H rows, W columns; pictures are (rows, columns, 3) uint8, RGB.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rangeseg.labels import LabelMap
from rangeseg.perturbations import Channels
from rangeseg.perturbations.color import RGB
from rangeseg.types import PseudoLabelled, View
from rangeseg.vis.panels import Picture, caption, colorise, enlarge, legend, present, range_picture

SOURCES = {"a": (58, 120, 190), "b": (226, 130, 40), "both": (120, 120, 120), "changed": (150, 70, 160)}
"""Colours of pixels from a, from b, equal in both, and different from both. Invalid pixels are black."""


def view_picture(image: Tensor, valid: Tensor, channels: Channels) -> Picture:
    """One view as a picture: its colours, or else its range, or else its first channel in grey.

    Args:
        image: (C, H, W) normalised.
        valid: (H, W) bool.
        channels: description of the C channels.

    Returns:
        (H, W, 3).
    """
    if all(name in channels for name in RGB):
        colors = np.stack([channels.read(image[None], name)[0].numpy() for name in RGB], -1)
        return (255 * colors.clip(0, 1) * valid.numpy()[..., None]).astype(np.uint8)
    if "range" in channels:
        return range_picture((channels.read(image[None], "range")[0] * valid).numpy())
    grey = (127 + 50 * image[0].numpy()).clip(0, 255) * valid.numpy()
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


def source_picture(image: Tensor, valid: Tensor, a: Tensor, b: Tensor) -> Picture:
    """The source of each pixel, found by comparing values.

    Args:
        image: (C, H, W), the student's input.
        valid: (H, W) bool.
        a: (C, H, W), the first view.
        b: (C, H, W), the second view.

    Returns:
        (H, W, 3) in the colours of `SOURCES`.
    """
    in_a, in_b = (torch.isclose(image, side, atol=1e-5).all(0).numpy() for side in (a, b))
    picture = np.full((*valid.shape, 3), SOURCES["changed"], np.uint8)
    for where, name in ((in_a, "a"), (in_b, "b"), (in_a & in_b, "both")):
        picture[where] = SOURCES[name]
    picture[~valid.numpy()] = 0
    return picture


def target_picture(target: Tensor, valid: Tensor, label_map: LabelMap) -> Picture:
    """The most likely class in its colour, paler if less confident; black in pixels without a loss.

    Args:
        target: (K, H, W) probabilities.
        valid: (H, W) bool.
        label_map: the K classes.

    Returns:
        (H, W, 3).
    """
    sure, label = target.max(0)
    floor = 1 / len(target)
    strength = ((sure.numpy() - floor) / (1 - floor)).clip(0, 1)[..., None]
    colors = colorise(label.numpy(), label_map) * strength + 235 * (1 - strength)
    return (colors * valid.numpy()[..., None]).astype(np.uint8)


def perturbation_panels(
    a: View, b: View, made: PseudoLabelled, *, channels: Channels, label_map: LabelMap, title: str
) -> Picture:
    """Both inputs, and for each view that the student gets: sources, view and target.

    Args:
        a: one view, with a leading axis of 1.
        b: another view, with a leading axis of 1.
        made: result of a perturbation of the two; one view or several.
        channels: description of the channels.
        label_map: the classes.
        title: title of the picture.

    Returns:
        One picture.
    """
    height, width = a.valid.shape[-2:]
    photograph = width <= 4 * height
    rows = 128  # largest height of a panel, pixels, unless H is larger; twice as much for photographs
    step = -(-height // (2 * rows))  # of large photographs, only every second (third, ...) pixel is shown
    size = (height // step, width // step, 11) if photograph else (rows, max(width, 512), 15)
    shown = [
        caption(enlarge(picture[::step, ::step], *size[:2]), text, size=size[2])
        for text, picture in _strips(a, b, made, channels, label_map, title)
    ]
    if photograph:  # side by side
        shown += [np.zeros_like(shown[0])] * (len(shown) % 2)
        shown = [np.concatenate(shown[first : first + 2], 1) for first in range(0, len(shown), 2)]
    sure, label = made.target.max(1)
    classes = present(
        label[made.valid & (sure > 1.01 / made.target.shape[1])].numpy()
    )  # too unsure to show a colour: not in the legend
    return np.concatenate([*shown, legend(label_map, classes, shown[0].shape[1], size=size[2] - 1)])


def _strips(
    a: View, b: View, made: PseudoLabelled, channels: Channels, label_map: LabelMap, title: str
) -> list[tuple[str, Picture]]:
    strips = [
        (f"{title}: input a", view_picture(a.image[0], a.valid[0], channels)),
        ("input b", view_picture(b.image[0], b.valid[0], channels)),
    ]
    for number, (image, target, valid) in enumerate(zip(made.image, made.target, made.valid, strict=True)):
        which = "" if len(made.valid) == 1 else f", view {number + 1}"
        strips += [
            (f"source: a blue, b orange, other purple{which}", source_picture(image, valid, a.image[0], b.image[0])),
            (f"student input{which}", view_picture(image, valid, channels)),
            (f"target, black without loss{which}", target_picture(target, valid, label_map)),
        ]
    return strips
