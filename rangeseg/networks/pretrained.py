"""Published ImageNet weights for trunks: fetched, or read from a file of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

URLS = {
    18: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    34: "https://download.pytorch.org/models/resnet34-b627a593.pth",
    50: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    101: "https://download.pytorch.org/models/resnet101-63fe2227.pth",
}
"""torchvision's IMAGENET1K_V1 weights; the end of a file's name is its hash, which is checked."""

CLASSIFIER = ("fc.", "head.fc.")


def load_trunk(trunk: nn.Module, weights: str, layers: int) -> None:
    """Put published weights into a trunk.

    Args:
        trunk: with torchvision's names.
        weights: "none" leaves it as it is, "imagenet" fetches torchvision's weights, else a file in the layout of
            torchvision or timm.
        layers: of the ResNet.

    Raises:
        ValueError: no network or no such file, not a state dict, or names or shapes that do not fit.
    """
    if weights == "none":
        return
    state = _fetch(layers) if weights == "imagenet" else _read(Path(weights))
    state = {name: value for name, value in state.items() if not name.startswith(CLASSIFIER)}
    own = trunk.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # old files have none
    problems = [f"{name} is missing" for name in own.keys() - state.keys() - counters]
    problems += [f"{name} is unknown" for name in state.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    if problems:
        raise ValueError(
            f"{weights}: these are not the weights of this ResNet-{layers}: {'; '.join(sorted(problems)[:3])} "
            f"({len(problems)} in all). Choose another file, or weights: none."
        )
    trunk.load_state_dict(state, strict=False)


def _fetch(layers: int) -> Mapping[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(URLS[layers], map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"weights: imagenet: {URLS[layers]} could not be fetched ({error}). Download it elsewhere and name the "
            "file, weights: FILE, or train from scratch with weights: none."
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"weights: {path} is no file. Name torchvision's or timm's, or choose imagenet or none.")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes torch raise
        raise ValueError(f"weights: {path} is no state dict of tensors ({error}).") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights: {path} holds more than tensors by name; save a state_dict().")
    return state
