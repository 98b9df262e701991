"""Networks: (B, C, H, W) images -> (B, K, H, W) logits, where H and W are divisible by `.stride`."""

from __future__ import annotations

from typing import Any

from torch import nn

from rangeseg.components import lookup
from rangeseg.networks.cenet import CENet
from rangeseg.networks.deeplab import DeepLabV2, DeepLabV3Plus
from rangeseg.networks.fidnet import FIDNet
from rangeseg.networks.foldnet import FoldNet
from rangeseg.networks.pspnet import PSPNet
from rangeseg.networks.published import import_state_dict
from rangeseg.networks.rangenet import RangeNet
from rangeseg.networks.rangevit import RangeViT
from rangeseg.networks.salsanext import SalsaNext
from rangeseg.networks.squeezeseg import SqueezeSegV2
from rangeseg.networks.unet import UNet

__all__ = ["NETWORKS", "create_network", "import_state_dict"]

NETWORKS: dict[str, type[nn.Module]] = {
    "fidnet": FIDNet,
    "cenet": CENet,
    "salsanext": SalsaNext,
    "rangenet": RangeNet,
    "squeezeseg": SqueezeSegV2,
    "rangevit": RangeViT,
    "foldnet": FoldNet,
    "deeplab_v2": DeepLabV2,
    "deeplab_v3plus": DeepLabV3Plus,
    "pspnet": PSPNet,
    "unet": UNet,
}
"""Every network by its name in a config. A class of your own needs no entry: its name is ``module:Class``."""


def create_network(name: str, *, in_channels: int, num_classes: int, wrap: bool = False, **kwargs: Any) -> nn.Module:
    """Make a network.

    Args:
        name: a key of `NETWORKS`, or ``module:Class`` for a class of your own that takes the same arguments.
        in_channels: C, channels of the images.
        num_classes: K, channels of the logits.
        wrap: column 0 of an image touches column W-1.
        **kwargs: what else the class takes.

    Returns:
        A module (B, C, H, W) -> (B, K, H, W) logits, with `stride`: what H and W must be divisible by.

    Raises:
        ValueError: there is no network of that name.
    """
    return lookup(NETWORKS, name, "network")(in_channels=in_channels, num_classes=num_classes, wrap=wrap, **kwargs)
