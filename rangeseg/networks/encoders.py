"""Encoders by name: our ResNets, and those of timm.

Shapes: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rangeseg.networks.pretrained import load_encoder
from rangeseg.networks.resnet import BLOCKS, Encoder, ResNet

REDUCTIONS = [2, 4, 8, 16, 32]


def make_encoder(
    name: str, in_channels: int, *, width: int = 64, output_stride: int = 32, weights: str = "none"
) -> Encoder:
    """Make an encoder: (B, C, H, W) -> five features, the first at half of the image's size; see `Encoder`.

    Args:
        name: resnet18, resnet34, resnet50, resnet101, or ``timm:NAME``.
        in_channels: C.
        width: of a ResNet's first stage; not used for timm.
        output_stride: ratio of the image's size to that of the last features; must be 32 for timm.
        weights: "none", "imagenet", or a file.

    Raises:
        ValueError: an unknown encoder, timm cannot be imported, timm with another output stride, or weights that do
            not fit.
    """
    if name.startswith("timm:"):
        if output_stride != 32:
            raise ValueError(f"encoder: {name} has output stride 32, not {output_stride}; choose a ResNet.")
        return TimmEncoder(name.removeprefix("timm:"), in_channels, weights=weights)
    resnets = {f"resnet{layers}": layers for layers in BLOCKS}
    if name not in resnets:
        raise ValueError(f"encoder: {name!r} is unknown; choose from {', '.join(resnets)}, or timm:NAME.")
    encoder = ResNet(in_channels, layers=resnets[name], output_stride=output_stride, width=width)
    load_encoder(encoder, weights, resnets[name])
    return encoder


class TimmEncoder(Encoder):
    """A network of timm without its classifier.

    Args:
        name: timm's name of the network.
        in_channels: C.
        weights: "none", "imagenet" (timm downloads its own), or a file in timm's layout.

    Raises:
        ValueError: timm cannot be imported, the name is unknown, the weights cannot be loaded or do not fit, or the
            features are not at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.
    """

    def __init__(self, name: str, in_channels: int = 3, *, weights: str = "none") -> None:
        super().__init__()
        try:
            import timm
        except (ImportError, RuntimeError) as error:  # a torchvision for another torch raises RuntimeError
            raise ValueError(
                f"encoder: timm:{name} needs timm, which cannot be imported here ({error}). Install it, with the "
                "torchvision of your torch: pip install 'rangeseg[timm]'; or choose a ResNet: encoder: resnet50."
            ) from error
        settings: dict[str, Any] = {"in_chans": in_channels, "features_only": True}
        own = {} if weights in ("none", "imagenet") else {"pretrained_cfg_overlay": {"file": str(Path(weights))}}
        before = torch.get_rng_state()
        try:
            self.body = timm.create_model(name, pretrained=weights != "none", **settings, **own)
            missing = _random(self.body, lambda: timm.create_model(name, pretrained=False, **settings), before, own)
        except Exception as error:  # timm, its hub and foreign files raise many kinds of errors
            raise ValueError(f"encoder: timm:{name} with weights: {weights} cannot be made ({error}).") from error
        if missing:
            raise ValueError(
                f"encoder: timm:{name}: {weights} has no fitting weights for {len(missing)} layers, the first is "
                f"{missing[0]}. Give a file of this network in timm's layout, or choose imagenet or none."
            )
        if self.body.feature_info.reduction() != REDUCTIONS:
            raise ValueError(
                f"encoder: timm:{name} has features at strides {self.body.feature_info.reduction()}, but strides "
                f"{REDUCTIONS} are needed; choose another network, e.g. timm:densenet161."
            )
        self.in_channels = in_channels
        self.channels = tuple(self.body.feature_info.channels())

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""
        features: list[Tensor] = self.body(image)
        return features


def _random(body: nn.Module, make: Callable[[], nn.Module], state: Tensor, own: Mapping[str, Any]) -> list[str]:
    """The weights that a file did not replace: timm only logs those that it does not find in the file.

    Args:
        body: network with the weights of the file.
        make: makes the same network with random weights.
        state: state of torch's generator before `body` was made.
        own: empty if there is no file.

    Returns:
        Names of weights, except of vectors, that have their random initial values.
    """
    if not own:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(state)
        fresh = dict(make().named_parameters())
    return [name for name, one in body.named_parameters() if one.ndim > 1 and torch.equal(one, fresh[name])]
