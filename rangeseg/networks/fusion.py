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

    A BatchNorm is fused if its input is the unchanged output of a convolution and both run once in a forward pass. The
    outputs of copy and network are then compared on the CPU in float64. If they differ, because another layer also
    reads the output of the convolution, nothing is fused. Nothing is fused either if the network cannot run on the CPU
    in float64 with an image of this shape.

    Args:
        network: in eval mode and float32; it is not changed.
        shape: (C, H, W) of an image that the network can read; a small one is enough.

    Returns:
        The copy on the network's device, with equal outputs up to rounding; the network itself if nothing is fused.

    Source: Jacob et al., Quantization and Training of Neural Networks, CVPR 2018, section 3.2.
    """
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return network
    image = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        fused = _fused(copy.deepcopy(network).cpu().double(), image)
    except Exception:  # it cannot run there; if the network itself is wrong, its use raises the error
        return network
    return network if fused is None else fused.float().to(next(network.parameters()).device)


@torch.no_grad()
def _fused(network: nn.Module, image: Tensor) -> nn.Module | None:
    """The same network, fused in place; None if there is nothing to fuse or the outputs differ."""
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
    """(BatchNorm's name, the convolution whose output it reads) of all BatchNorms and convolutions in only one pair."""
    returned: dict[int, tuple[Tensor, int, Convolution]] = {}
    read: list[tuple[str, Convolution | None]] = []

    def keep(module: Convolution, _: tuple[Tensor, ...], result: Tensor) -> None:
        returned[id(result)] = (result, result._version, module)  # kept, so that no other tensor gets its id

    def look(name: str, given: Tensor) -> None:
        _, version, conv = returned.get(id(given), (given, -1, None))
        read.append((name, conv if version == given._version else None))  # an activation may change it in place

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
