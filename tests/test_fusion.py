"""BatchNorm in the convolutions: every network answers as before, and where one would not, nothing is fused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_networks import CHANNELS, draw, every_network, make, on_plane_and_cylinder, settled
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rangeseg.networks import create_network
from rangeseg.networks.fusion import fuse_conv_bn

SHAPE = (3, 4, 6)
ACTIVATE_FIRST = {"salsanext"}
"""Whose BatchNorm stands behind the activation."""


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def both(network: nn.Module, image: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    """The fused copy, what it answers and what the network does."""
    before = copy.deepcopy(network.state_dict())
    fused = fuse_conv_bn(network, (image.shape[1], image.shape[2], image.shape[3]))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())
    with torch.no_grad():
        return fused, fused(image), network(image)


@every_network
@on_plane_and_cylinder
def test_a_network_answers_as_before_without_its_norms(
    name: str, more: dict[str, Any], wrap: bool, generator: torch.Generator
) -> None:
    network = settled(make(name, more, wrap=wrap), generator)
    fused, found, expected = both(network, draw(network, generator))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert norms(fused) == (norms(network) if name in ACTIVATE_FIRST else 0)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in fused.modules())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("deeplab_v2", {"layers": 50, "width": 4}),
        ("deeplab_v3plus", {"layers": 50, "width": 4}),
        ("pspnet", {"encoder": "resnet18", "width": 4}),
        ("unet", {"encoder": "resnet18", "width": 4}),
    ],
)
def test_so_do_those_of_photographs(name: str, more: dict[str, Any], generator: torch.Generator) -> None:
    network = settled(create_network(name, in_channels=3, num_classes=5, **more), generator)
    fused, found, expected = both(network, torch.randn(1, 3, 64, 64, generator=generator))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert norms(fused) < 0.1 * norms(network)  # a U-net's last stands behind dropout


class Convolved(nn.Module):
    """A convolution and a BatchNorm, and what a test puts between or beside them."""

    def __init__(self, conv: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False) if conv is None else conv
        self.norm = nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(image))
        return result


class ActivatedInPlace(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(F.leaky_relu(self.conv(image), 0.1, inplace=True))
        return result


class ReadTwice(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        hidden = self.conv(image)
        result: Tensor = self.norm(hidden) + hidden
        return result


class ConvolvedTwice(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(image)) + self.conv(image)
        return result


class NormedTwice(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(self.norm(self.conv(image)))
        return result


class OfFloat32(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(image.float()))
        return result


class OfOneSize(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] != 64:
            raise ValueError("give 64 columns")
        return super().forward(image)


class ReadsItsNorm(Convolved):
    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(image)) * self.norm.eps
        return result


@pytest.mark.parametrize("kind", [OfFloat32, OfOneSize, ReadsItsNorm])
def test_a_network_that_cannot_be_compared_is_left_as_it_is(kind: type[nn.Module], generator: torch.Generator) -> None:
    network = settled(kind(), generator)
    assert fuse_conv_bn(network, SHAPE) is network
    assert network(torch.randn(1, 3, 4, 64, generator=generator)).isfinite().all()


@pytest.mark.parametrize("kind", [ActivatedInPlace, ReadTwice, ConvolvedTwice, NormedTwice])
def test_nothing_is_fused_where_it_would_not_be_the_same(kind: type[nn.Module], generator: torch.Generator) -> None:
    network = settled(kind(), generator)
    assert fuse_conv_bn(network, SHAPE) is network


CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "strided": lambda: nn.Conv2d(3, 4, 3, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, (1, 4), (1, 2), (0, 1)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3, groups=2)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_any_convolution_takes_its_norm_in(kind: str, generator: torch.Generator) -> None:
    network = settled(Convolved(CONVOLUTIONS[kind]()), generator)
    fused, found, expected = both(network, torch.randn(2, *SHAPE, generator=generator))
    torch.testing.assert_close(found, expected)
    assert norms(fused) == 0


def test_a_grouped_transposed_convolution_is_left_alone(generator: torch.Generator) -> None:
    conv = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2, 2, groups=2))
    network = settled(Convolved(conv), generator)
    fused, found, expected = both(network, torch.randn(2, *SHAPE, generator=generator))
    torch.testing.assert_close(found, expected)
    assert norms(fused) == 1


def test_memory_order_and_random_numbers_stay(generator: torch.Generator) -> None:
    network = settled(make("foldnet", {}), generator).to(memory_format=torch.channels_last)
    state = torch.get_rng_state()
    fused = fuse_conv_bn(network, (CHANNELS, *network.stride))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [module.weight for module in fused.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert all(weight.dtype == torch.float32 for weight in weights)


def test_low_precision_is_no_farther_from_float32_for_it(generator: torch.Generator) -> None:
    network = settled(make("foldnet", {}), generator)
    image = draw(network, generator, tiles=(2, 4))
    fused = fuse_conv_bn(network, (CHANNELS, *network.stride))
    with torch.no_grad():
        expected = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            off = [(one(image).float() - expected).square().mean().item() for one in (network, fused)]
    assert off[1] < 1.1 * off[0]
