"""Checkpoints as published: their layouts, random values for them, and their layers by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

LAYOUTS = Path(__file__).parents[2] / "shared" / "reference" / "layouts"
State = dict[str, Tensor]


def layout(name: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a published checkpoint's parameters, in its order."""
    path = LAYOUTS / f"{name}.json"
    if not path.is_file():
        pytest.skip(reason=f"{path} is not there")
    return [(key, tuple(shape)) for key, shape in json.loads(path.read_text())["tensors"]]


def checkpoint(name: str, generator: torch.Generator) -> State:
    """Random values for a layout, with BatchNorm's buffers where they are; variances keep signals about their size."""
    state: State = {}
    shapes = layout(name)
    norms = {key.removesuffix(".weight") for key, shape in shapes if key.endswith(".weight") and len(shape) == 1}
    for key, shape in shapes:
        owner, _, kind = key.rpartition(".")
        if owner in norms:
            drawn = torch.rand(shape, generator=generator)
            state[key] = 0.5 + drawn if kind == "weight" else 0.2 * drawn - 0.1
        else:
            fan = max(1, int(torch.tensor(shape[1:]).prod()))
            state[key] = torch.randn(shape, generator=generator) / fan**0.5
        if owner in norms and kind == "bias":
            state[f"{owner}.running_mean"] = 0.1 * torch.randn(shape, generator=generator)
            state[f"{owner}.running_var"] = 0.5 + torch.rand(shape, generator=generator)
            state[f"{owner}.num_batches_tracked"] = torch.tensor(7)
    return state


class Plain:
    """Layers in eval mode, by their names in a published checkpoint."""

    def __init__(self, state: State) -> None:
        self.state = {key: value.double() for key, value in state.items()}

    def conv(self, x: Tensor, name: str, **how: object) -> Tensor:
        """Of odd kernels the size is kept, unless `how` says otherwise."""
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        how = {"padding": weight.shape[-1] // 2} | how
        return F.conv2d(x, weight, bias, **how)  # type: ignore[arg-type]

    def double(self, x: Tensor, name: str) -> Tensor:
        """The transposed convolution that doubles columns."""
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.conv_transpose2d(x, weight, bias, stride=(1, 2), padding=(0, 1))

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias
