"""The base of every network: what rangeseg asks of one besides its forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class Network(nn.Module):
    """(B, C, H, W) images -> (B, K, H, W) logits.

    A network with auxiliary heads (deep supervision) also takes `auxiliary=True` and then returns (logits, [logits of
    each head]), all of the image's size.
    """

    stride: tuple[int, int] = (1, 1)
    """H and W of its images must be divisible by these."""

    @property
    def least_views(self) -> int:
        """Views that a training batch needs at least."""
        return 1

    def auxiliary_heads(self) -> Sequence[nn.Module]:
        """The heads that only `supervised.auxiliary` trains; none by default."""
        return ()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Part of the network -> its trained parameters, for `optim.lr_multipliers`; one part by default."""
        return {"network": [parameter for parameter in self.parameters() if parameter.requires_grad]}
