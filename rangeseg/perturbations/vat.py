"""VAT: the direction that changes the teacher's prediction most.

Shapes: B views, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor, nn

from rangeseg.losses import CONSISTENCY_KINDS
from rangeseg.networks.modes import evaluating
from rangeseg.noise import normal
from rangeseg.perturbations.bases import SingleViewPerturbation
from rangeseg.types import PseudoLabelled


@dataclass(frozen=True)
class VAT(SingleViewPerturbation):
    """The view is x + r d and the target T(x); d has norm 1 in each view and comes from one power iteration.

        e = xi H W / 1000 * n / |n|, n normal      g = gradient by e of sum D(T(x + e), T(x))      d = g / |g|
        r = radius / 2 * |central differences of x|      adaptive, or      r = radius * sqrt(C H W)      constant

    Only valid pixels are changed, summed over and counted; if all are valid, this is the paper's code except for xi.
    The direction is computed in the images' own precision, without autocast (e is too small for half precision), and
    with the teacher in eval mode.

    Args:
        radius: factor of r; the paper uses 1 for adaptive r and 0.5 for constant r.
        adaptive: r is proportional to the contrast of the view; False: r is constant.
        kind: D, one of the consistency losses that have a gradient: "kld", "var", "bce", or one on logits.
        xi: the length of the first step. The paper's code has 1e-6; rounding in float32 then determines the direction.
        wrap: the views are cylinders: central differences continue across the seam.
        network: the teacher's network; the trainer sets it by `with_network`.

    Raises:
        ValueError: `radius` or `xi` is not above 0, or `kind` is unknown.

    Source:
        Miyato et al., TPAMI 2018; French et al., BMVC 2020, and the authors' code.
    """

    radius: float = 1.0
    adaptive: bool = True
    kind: str = "kld"
    xi: float = 1e-3
    wrap: bool = False
    network: nn.Module | None = field(default=None, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("radius", "xi"):
            if not getattr(self, name) > 0:
                raise ValueError(f"VAT got {name}={getattr(self, name)}; give a number above 0.")
        if self.kind not in CONSISTENCY_KINDS or self.kind == "ce":
            kinds = ", ".join(kind for kind in CONSISTENCY_KINDS if kind != "ce")
            raise ValueError(f"VAT got kind={self.kind!r}; choose one of {kinds}.")

    def perturb(self, generator: Generator, views: PseudoLabelled) -> PseudoLabelled:
        """Change the image; target and validity do not change.

        Raises:
            ValueError: there is no network.
        """
        if self.network is None:
            raise ValueError("VAT needs the teacher's network; call with_network first.")
        image, valid = views.image.detach(), views.valid[:, None]
        noise = normal(generator, image.shape, image.device).to(image.dtype)
        direction = self._direction(image, valid, noise, self.network)
        return replace(views, image=image + self._reach(image, valid) * direction)

    def with_network(self, network: nn.Module) -> VAT:
        """The same perturbation with this network."""
        return replace(self, network=network)

    def _direction(self, image: Tensor, valid: Tensor, noise: Tensor, network: nn.Module) -> Tensor:
        """(B, C, H, W) direction d, of norm 1 in each view."""
        step = self.xi * image[0, 0].numel() / 1000 * _unit(noise * valid)
        with torch.autocast(image.device.type, enabled=False), evaluating(network):
            with torch.no_grad():
                answer = network(image)
            target = answer if self.kind.startswith("logits_") else answer.softmax(1)
            with torch.enable_grad():
                step.requires_grad_()
                distance = CONSISTENCY_KINDS[self.kind](network(image + step), target)
                # The gradient of the step alone: no weight's .grad is touched.
                (gradient,) = torch.autograd.grad((distance * valid[:, 0]).sum(), step)
        return _unit(gradient * valid)

    def _reach(self, image: Tensor, valid: Tensor) -> Tensor:
        """(B, 1, 1, 1) length r."""
        if not self.adaptive:
            return self.radius * (image.shape[1] * _sum(valid.to(image.dtype))).sqrt()
        vertical = _central(image, valid, 2)
        if self.wrap:
            image, valid = (torch.cat([field[..., -1:], field, field[..., :1]], 3) for field in (image, valid))
        return self.radius / 2 * (vertical + _central(image, valid, 3)).sqrt()


def _central(image: Tensor, valid: Tensor, axis: int) -> Tensor:
    """(B, 1, 1, 1), the sum of squares of x[i + 1] - x[i - 1] along an axis, where both are valid."""
    count = image.shape[axis] - 2
    difference = image.narrow(axis, 2, count) - image.narrow(axis, 0, count)
    return _sum(difference.square() * (valid.narrow(axis, 2, count) & valid.narrow(axis, 0, count)))


def _unit(field: Tensor) -> Tensor:
    """Each view divided by its norm."""
    return field / (_sum(field.square()).sqrt() + 1e-12)


def _sum(field: Tensor) -> Tensor:
    """(B, ...) -> (B, 1, 1, 1)."""
    return field.sum((1, 2, 3), keepdim=True)
