"""The base of every network: what rangeseg asks of one besides its forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rangeseg.networks.weak_head import WeakHead


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

    def classifier(self) -> nn.Module | None:
        """The part that makes logits of the last features, a convolution or several; None: no weak head is possible.

        What the forward pass does with its output (resizing, unfolding) must treat every view of the batch for itself.
        """
        return None

    def add_weak_head(self, width: int) -> None:
        """Put a weak head on the last features, beside the classifier.

        Args:
            width: channels of its inner convolution.

        Raises:
            ValueError: the network does not name its classifier.
        """
        classifier = self.classifier()
        if classifier is None:
            raise ValueError(
                f"{type(self).__name__} does not name the layer that makes its logits, so it can have no weak head. "
                "Override classifier() of rangeseg.networks.base.Network."
            )
        self.weak_head = WeakHead(classifier, width)
        classifier.register_forward_hook(self.weak_head.join)

    def weak_heads(self) -> list[WeakHead]:
        """The weak heads of this network and of those in it."""
        return [module for module in self.modules() if isinstance(module, WeakHead)]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Part of the network -> its trained parameters, for `optim.lr_multipliers`; one part by default."""
        return {"network": [parameter for parameter in self.parameters() if parameter.requires_grad]}
