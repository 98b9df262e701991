"""Networks: (B, C, H, W) images -> (B, K, H, W) logits, where H and W are divisible by `.stride`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rangeseg.catalog import NETWORKS
from rangeseg.registry import lookup

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "create_network"]


def create_network(name: str, *, in_channels: int, num_classes: int, wrap: bool = False, **kwargs: Any) -> nn.Module:
    """Make a network.

    Args:
        name: a key of `NETWORKS`, or ``module:Class`` for a class of your own that takes the same arguments.
        in_channels: C, channels of the images.
        num_classes: K, channels of the logits.
        wrap: column 0 of an image touches column W-1.
        **kwargs: further arguments of the class.

    Returns:
        A module (B, C, H, W) -> (B, K, H, W) logits. H and W must be divisible by its attribute `stride`.

    Raises:
        ValueError: there is no network of that name.
    """
    make = lookup(NETWORKS, name, "network")
    network: nn.Module = make(in_channels=in_channels, num_classes=num_classes, wrap=wrap, **kwargs)
    return network
