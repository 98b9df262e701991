"""The base class of all networks: what rangeseg needs of a network besides its forward pass."""

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
        """Smallest number of views in a training batch."""
        return 1

    def auxiliary_heads(self) -> Sequence[nn.Module]:
        """The heads that only `supervised.auxiliary` trains; none by default."""
        return ()

    def classifier(self) -> nn.Module | None:
        """The part that maps the last features to logits, by one or more convolutions; None: no weak head is possible.

        After this part, the forward pass must process each view of the batch separately (resizing, unfolding).
        """
        return None

    def add_weak_head(self, width: int) -> None:
        """Add a weak head on the last features, in parallel to the classifier.

        Args:
            width: number of channels between the two convolutions of the head.

        Raises:
            ValueError: `classifier` returns None.
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
        """The weak heads of this network and of the networks in it."""
        return [module for module in self.modules() if isinstance(module, WeakHead)]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Part of the network -> its trained parameters, for `optim.lr_multipliers`; one part by default."""
        return {"network": [parameter for parameter in self.parameters() if parameter.requires_grad]}
