"""FIDNet against the published arrangement, written out plainly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_networks import draw, make, on_plane_and_cylinder, settled
from torch import Tensor, nn

from rangeseg.networks.azimuth import upsample_align_corners
from rangeseg.networks.fidnet import FIDNet
from rangeseg.networks.layers import Conv1x1

STEM, WIDTH, BLOCKS = (64, 128, 256, 512), 128, (3, 4, 6, 3)


def published_layout(channels: int, classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published checkpoint's parameters, in its order."""

    def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)

    before = channels
    for index, (width, bn) in enumerate(zip(STEM, ("bn_0", "bn", "bn_1", "bn_2"), strict=True), start=1):
        yield f"backend.conv{index}.weight", (width, before, 1, 1)
        yield f"backend.conv{index}.bias", (width,)
        yield from norm(f"backend.{bn}", width)
        before = width
    for stage, count in enumerate(BLOCKS, start=1):
        for block in range(count):
            prefix = f"backend.layer{stage}.{block}"
            for index in (1, 2):
                yield f"{prefix}.conv{index}.weight", (WIDTH, before if index == 1 else WIDTH, 3, 3)
                yield from norm(f"{prefix}.bn{index}", WIDTH)
            if block == 0:
                yield f"{prefix}.downsample.0.weight", (WIDTH, before, 1, 1)
                yield from norm(f"{prefix}.downsample.1", WIDTH)
            before = WIDTH
    before = STEM[-1] + len(BLOCKS) * WIDTH
    for index, width in enumerate((512, 128), start=1):
        yield f"semantic_head.conv_{index}.weight", (width, before, 1, 1)
        yield f"semantic_head.conv_{index}.bias", (width,)
        yield from norm(f"semantic_head.bn{index}", width)
        before = width
    yield "semantic_head.semantic_output.weight", (classes, before, 1, 1)
    yield "semantic_head.semantic_output.bias", (classes,)


@pytest.mark.parametrize(("channels", "parameters"), [(5, 6_054_420), (8, 6_054_612)])
def test_the_default_has_the_published_parameters_in_the_published_order(channels: int, parameters: int) -> None:
    ours = [tuple(parameter.shape) for parameter in FIDNet(channels, 20).parameters()]
    assert ours == [shape for _, shape in published_layout(channels, 20)]
    assert sum(int(np.prod(shape)) for shape in ours) == parameters


def published_forward(network: FIDNet, image: Tensor) -> Tensor:
    """The published arrangement: all scales enlarged to full size and concatenated before the head."""
    values = dict(zip((name for name, _ in published_layout(5, 20)), network.parameters(), strict=True))
    running = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = values[f"{name}.weight"]
        return F.conv2d(x, weight, values.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        statistics = next(running)
        mean, var = (s.view(1, -1, 1, 1) for s in (statistics.running_mean, statistics.running_var))
        weight, bias = (values[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    x = image
    for index, bn in enumerate(("bn_0", "bn", "bn_1", "bn_2"), start=1):
        x = act(norm(conv(x, f"backend.conv{index}"), f"backend.{bn}"))
    features = [x]
    for stage, count in enumerate(BLOCKS, start=1):
        for block in range(count):
            name, stride = f"backend.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            hidden = act(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
            hidden = norm(conv(hidden, f"{name}.conv2"), f"{name}.bn2")
            if block == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = act(hidden + x)
        features.append(x)
    size = image.shape[-2:]
    x = torch.cat([F.interpolate(f, size, mode="bilinear", align_corners=True) for f in features], dim=1)
    for index in (1, 2):
        x = act(norm(conv(x, f"semantic_head.conv_{index}"), f"semantic_head.bn{index}"))
    return conv(x, "semantic_head.semantic_output")


def test_the_default_computes_what_the_published_arrangement_computes(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    network = settled(FIDNet(5, 20), generator).double()
    image = torch.randn(1, 5, 16, 24, generator=generator).double()
    with torch.no_grad():
        expected = published_forward(network, image)
        torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@on_plane_and_cylinder
def test_the_split_head_has_the_values_and_gradients_of_the_concatenated_one(
    wrap: bool, generator: torch.Generator
) -> None:
    conv = make("fidnet", {}, wrap=wrap).head.conv1.double()
    sizes = [(32, 16, 24), (8, 16, 24), (8, 8, 12), (8, 4, 6), (8, 2, 3)]
    features = [torch.randn(2, *size, generator=generator).double().requires_grad_() for size in sizes]
    inputs = [*features, conv.weight, conv.bias]
    enlarged = [upsample_align_corners(feature, (16, 24), wrap=wrap) for feature in features]
    results = {}
    together = F.conv2d(torch.cat(enlarged, dim=1), conv.weight, conv.bias)
    for name, fused in {"split": conv(features), "concatenated": together}.items():
        results[name] = [fused, *torch.autograd.grad(fused.square().sum(), inputs)]
    for split, concatenated in zip(results["split"], results["concatenated"], strict=True):
        torch.testing.assert_close(split, concatenated, rtol=1e-9, atol=1e-9)


def test_a_small_one_is_small() -> None:
    network = FIDNet(5, 20, width=32, blocks=(2, 2, 2, 2), stem=(16, 32, 32), azimuth_stride=4)
    assert network.stride == (8, 32)
    assert sum(parameter.numel() for parameter in network.parameters()) == 160_836


def test_with_an_azimuth_stride_every_column_still_counts(generator: torch.Generator) -> None:
    network = make("fidnet", {"azimuth_stride": 4}).eval()
    image = draw(network, generator, batch=1).requires_grad_()
    network(image).sum().backward()
    assert (image.grad.abs().amax(dim=(0, 1, 2)) > 0).all()


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stage"):
        FIDNet(5, 20, blocks=())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
def test_picking_pixels_first_is_the_strided_convolution(stride: int, layout: torch.memory_format) -> None:
    convolution = Conv1x1(8, 6, stride=stride).double().to(memory_format=layout)
    image = torch.randn(2, 8, 16, 32, dtype=torch.float64).contiguous(memory_format=layout)
    plain = torch.einsum("oi,bihw->bohw", convolution.weight[..., 0, 0], image[..., ::stride, ::stride])
    torch.testing.assert_close(convolution(image), plain)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 5, 8, 16), (16, 64)), ((1, 3, 1, 7), (4, 21)), ((2, 4, 6, 10), (6, 30)), ((1, 2, 3, 1), (7, 3))],
)
def test_interpolation_has_torchs_gradient_in_every_order_of_memory(
    wrap: bool, shape: tuple[int, ...], size: tuple[int, int], generator: torch.Generator
) -> None:
    image, gradient = torch.randn(shape, generator=generator), torch.randn(*shape[:2], *size, generator=generator)
    planes = image.double().requires_grad_()
    pixels = image.to(memory_format=torch.channels_last).requires_grad_()
    expected = upsample_align_corners(planes, size, wrap=wrap)
    found = upsample_align_corners(pixels, size, wrap=wrap)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    (by_torch,) = torch.autograd.grad(expected, planes, gradient.double())
    (by_us,) = torch.autograd.grad(found, pixels, gradient)
    torch.testing.assert_close(by_us.double(), by_torch, rtol=1e-4, atol=1e-5)
    exact = image.double().to(memory_format=torch.channels_last).requires_grad_()
    (in_float64,) = torch.autograd.grad(upsample_align_corners(exact, size, wrap=wrap), exact, gradient.double())
    torch.testing.assert_close(in_float64, by_torch, rtol=1e-12, atol=1e-12)
