"""Published weights for encoders and transformers, downloaded or read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rangeseg.networks.checkpoint_files import read_tensors
from rangeseg.networks.published import unwrap

URLS = {
    18: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    34: "https://download.pytorch.org/models/resnet34-b627a593.pth",
    50: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    101: "https://download.pytorch.org/models/resnet101-63fe2227.pth",
}
"""torchvision's IMAGENET1K_V1 weights; the end of a file's name is its hash, which is checked."""

CLASSIFIER = ("fc.", "head.fc.")

NOT_OF_BLOCKS = ("patch_embed.", "head.", "head_dist.", "pre_logits.", "fc_norm.", "decoder.")
"""Prefixes of the weights of a published vision transformer that are not loaded."""

Resize = Callable[[Tensor, tuple[int, int], tuple[int, int]], Tensor]


def load_encoder(encoder: nn.Module, weights: str, layers: int) -> None:
    """Put published weights into an encoder.

    Args:
        encoder: module with torchvision's parameter names.
        weights: "none" loads nothing, "imagenet" downloads torchvision's weights; else, a file in the layout of
            torchvision or timm.
        layers: number of layers of the ResNet.

    Raises:
        ValueError: the download fails, the file does not exist or is no state dict, or names or shapes do not fit.
    """
    if weights == "none":
        return
    state = _fetch(layers) if weights == "imagenet" else _read(Path(weights))
    state = {name: value for name, value in state.items() if not name.startswith(CLASSIFIER)}
    own = encoder.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # old files have none
    problems = _misfits(own, state, counters)
    if problems:
        raise ValueError(
            f"{weights}: these are not the weights of this ResNet-{layers}: {'; '.join(problems[:3])} "
            f"({len(problems)} in all). Choose another file, or weights: none."
        )
    encoder.load_state_dict(state, strict=False)


def load_vit(encoder: nn.Module, path: Path, resize: Resize) -> None:
    """Put published weights into a vision transformer's blocks, norm, class token and positions.

    Args:
        encoder: module with timm's parameter names and the attribute `grid`: rows and columns of its positions.
        path: a state dict in timm's layout, bare or wrapped as training code saves it. If there are names with the
            prefix ``encoder.``, only these are read, without it. Positions on another grid than the encoder's must
            be on a square grid. If there are as many as the encoder has, they are on a square grid if that is possible,
            except with the prefix.
        resize: (positions (1, n, D), their grid, new grid) -> positions on the new grid.

    Raises:
        ValueError: the file does not exist or is no state dict, or names or shapes do not fit.
    """
    state = dict(_read(path))
    if whole := any(name.startswith("encoder.") for name in state):
        state = {name.removeprefix("encoder."): v for name, v in state.items() if name.startswith("encoder.")}
    state = {name: value for name, value in state.items() if not name.startswith(NOT_OF_BLOCKS)}
    own, grid = encoder.state_dict(), tuple(map(int, cast(Any, encoder).grid))
    positions = state.get("pos_embed")
    if positions is not None and positions.ndim == 3:
        side, count = math.isqrt(positions.shape[1] - 1), positions.shape[1] - 1
        square = side * side == count
        same_grid = whole or not square or grid == (side, side)
        if not square and positions.shape != own["pos_embed"].shape:
            raise ValueError(
                f"weights: {path} has {count} positions, which are neither a square grid nor this network's "
                f"{grid[0]} x {grid[1]}; set positions to the grid of the file."
            )
        if not (same_grid and positions.shape == own["pos_embed"].shape):
            moved = resize(positions[:, 1:], (side, side), cast(tuple[int, int], grid))
            state["pos_embed"] = torch.cat([positions[:, :1], moved], dim=1)
    problems = _misfits(own, state, set())
    if problems:
        raise ValueError(
            f"weights: {path} are not the weights of this vision transformer: {'; '.join(problems[:3])} "
            f"({len(problems)} in all). Give its dim, depth and heads, choose another file, or weights: none."
        )
    encoder.load_state_dict(state)


def _misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], spare: set[str]) -> list[str]:
    """Reasons why a state cannot be loaded, as text; names in `spare` may be missing."""
    problems = [f"{name} is missing" for name in own.keys() - state.keys() - spare]
    problems += [f"{name} is unknown" for name in state.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    return sorted(problems)


def _fetch(layers: int) -> Mapping[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(URLS[layers], map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"weights: imagenet: {URLS[layers]} could not be downloaded ({error}). Download it elsewhere and give the "
            "file, weights: FILE, or train from scratch with weights: none."
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ValueError(
            f"weights: {path} is not a file. Give a file of torchvision or timm, or choose imagenet or none."
        )
    try:
        content = read_tensors(path)
    except ValueError as error:  # its message names the file
        raise ValueError(f"weights: {error}") from error
    try:
        return unwrap(content)
    except ValueError as error:
        raise ValueError(f"weights: {path}: {error}") from error
