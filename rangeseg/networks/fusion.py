"""Fusion of BatchNorm into the preceding convolution, for networks that no longer train."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

Convolution = nn.Conv2d | nn.ConvTranspose2d


def fuse_conv_bn(network: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """A copy of a network with each BatchNorm fused into the convolution before it, which saves a memory pass.

    A BatchNorm is fused where it reads, unchanged, what a convolution has returned, and both run once. The copy is
    compared with the network in float64: where something else reads what lies between, they differ, and nothing is
    fused. Neither is it in a network that cannot do that: on a CPU, in float64, with so small an image, norm or none.

    Args:
        network: in eval mode and float32; stays as it is.
        shape: (C, H, W) of an image that it can read; a small one will do.

    Returns:
        The copy, equal to the network but for rounding, on its device; the network itself where nothing is fused.

    Source: Jacob et al., Quantization and Training of Neural Networks, CVPR 2018, section 3.2.
    """
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return network
    image = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        fused = _fused(copy.deepcopy(network).cpu().double(), image)
    except Exception:  # whatever stands in the way there; what is wrong with the network itself shows where it is used
        return network
    return network if fused is None else fused.float().to(next(network.parameters()).device)


@torch.no_grad()
def _fused(network: nn.Module, image: Tensor) -> nn.Module | None:
    """The network itself, changed; None if there is nothing to fuse or the outputs would differ."""
    pairs = _pairs(network, image)
    expected = network(image)
    for name, conv in pairs:
        norm: Any = network.get_submodule(name)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias,
            transpose=isinstance(conv, nn.ConvTranspose2d),
        )  # fmt: skip
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network if pairs and torch.allclose(network(image), expected) else None


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[str, Convolution]]:
    """Each BatchNorm's name, and the convolution that nothing but it reads, as far as modules tell."""
    returned: dict[int, tuple[Tensor, int, Convolution]] = {}
    read: list[tuple[str, Convolution | None]] = []

    def keep(module: Convolution, _: tuple[Tensor, ...], result: Tensor) -> None:
        returned[id(result)] = (result, result._version, module)  # kept, so that no other has its id

    def look(name: str, given: Tensor) -> None:
        _, version, conv = returned.get(id(given), (given, -1, None))
        read.append((name, conv if version == given._version else None))  # an activation works in place

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, Convolution) and (module.groups == 1 or isinstance(module, nn.Conv2d)):
            hooks.append(module.register_forward_hook(keep))
        elif isinstance(module, _BatchNorm) and module.track_running_stats and module.affine:
            hooks.append(module.register_forward_pre_hook(lambda _, given, name=name: look(name, given[0])))
    network(image)
    for hook in hooks:
        hook.remove()
    names, convs = [name for name, _ in read], [conv for _, conv in read]
    return [(name, conv) for name, conv in read if conv is not None and names.count(name) == convs.count(conv) == 1]
