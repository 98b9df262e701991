"""CENet and FIDNet's ASPP variants against the published arrangements, written out plainly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_networks import on_plane_and_cylinder, settled
from torch import Tensor, nn

from rangeseg.networks.azimuth import pad_azimuth
from rangeseg.networks.cenet import CENet
from rangeseg.networks.fidnet import FIDNet
from rangeseg.networks.layers import Conv3x3

BLOCKS = (3, 4, 6, 3)
Layout = Iterator[tuple[str, tuple[int, ...]]]


def conv_and_norm(conv: str, norm: str, width: int, before: int, size: int) -> Layout:
    yield f"{conv}.weight", (width, before, size, size)
    yield f"{norm}.weight", (width,)
    yield f"{norm}.bias", (width,)


def residual_stages(widths: tuple[int, ...], before: int) -> Layout:
    for stage, (width, count) in enumerate(zip(widths, BLOCKS, strict=True), start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            for index in (1, 2):
                yield from conv_and_norm(
                    f"{prefix}.conv{index}", f"{prefix}.bn{index}", width, before if index == 1 else width, 3
                )
            if block == 0 and (stage > 1 or before != width):
                yield from conv_and_norm(f"{prefix}.downsample.0", f"{prefix}.downsample.1", width, before, 1)
            before = width


def cenet_layout(channels: int, classes: int, heads: bool = True) -> Layout:
    """Names and shapes of the published checkpoint's parameters, in its order."""
    before = channels
    for index, width in enumerate((64, 128, 128), start=1):
        yield from conv_and_norm(f"conv{index}.conv", f"conv{index}.bn", width, before, 3)
        before = width
    yield from residual_stages((128,) * 4, 128)
    yield from conv_and_norm("conv_1.conv", "conv_1.bn", 256, 640, 3)
    yield from conv_and_norm("conv_2.conv", "conv_2.bn", 128, 256, 3)
    for name in ("semantic_output", *(f"aux_head{index}" for index in (1, 2, 3) if heads)):
        yield f"{name}.weight", (classes, 128, 1, 1)
        yield f"{name}.bias", (classes,)


@pytest.mark.parametrize(("heads", "parameters"), [(True, 6_781_968), (False, 6_774_228)])
def test_the_default_has_the_published_parameters_in_the_published_order(heads: bool, parameters: int) -> None:
    ours = [tuple(parameter.shape) for parameter in CENet(5, 20, auxiliary=heads).parameters()]
    assert ours == [shape for _, shape in cenet_layout(5, 20, heads)]
    assert sum(int(np.prod(shape)) for shape in ours) == parameters


RENAME: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"^conv(\d)\.", lambda m: f"stem.{int(m[1]) - 1}."),
    (r"^layer(\d)\.", lambda m: f"stages.{int(m[1]) - 1}."),
    (r"^conv_(\d)\.", lambda m: f"fuse.{int(m[1]) - 1}."),
    (r"^aux_head(\d)\.", lambda m: f"auxiliary.{int(m[1]) - 1}."),
    (r"^semantic_output\.", lambda _: "classify."),
    (r"\.bn(\d?)\.", lambda m: f".norm{m[1]}."),
    (r"\.downsample\.", lambda _: ".shortcut."),
)


def test_published_names_become_ours_by_a_few_rules() -> None:
    def renamed(name: str) -> str:
        for pattern, other in RENAME:
            name = re.sub(pattern, other, name)
        return name

    ours = {name: tuple(parameter.shape) for name, parameter in CENet(5, 20).named_parameters()}
    assert {renamed(name): shape for name, shape in cenet_layout(5, 20)} == ours


class Plainly:
    """A published checkpoint's parts by their names, with the values of a network whose parameters are in its order."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        self.values = dict(zip((name for name, _ in layout), network.parameters(), strict=True))
        owners = {id(m.weight): m for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
        self.norms = {n.removesuffix(".weight"): owners[id(v)] for n, v in self.values.items() if id(v) in owners}

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.values[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.values.get(f"{name}.bias"), stride, padding, dilation)

    def norm(self, x: Tensor, name: str) -> Tensor:
        own = self.norms[name]
        mean, var, weight, bias = (
            v.view(1, -1, 1, 1) for v in (own.running_mean, own.running_var, own.weight, own.bias)
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def stages(self, x: Tensor, act: Callable[[Tensor], Tensor]) -> list[Tensor]:
        features = []
        for stage, count in enumerate(BLOCKS, start=1):
            for block in range(count):
                name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
                hidden = act(self.norm(self.conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
                hidden = self.norm(self.conv(hidden, f"{name}.conv2"), f"{name}.bn2")
                if f"{name}.downsample.0.weight" in self.values:
                    x = self.norm(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
                x = act(hidden + x)
            features.append(x)
        return features


def enlarged(features: list[Tensor], image: Tensor) -> list[Tensor]:
    return [F.interpolate(f, image.shape[-2:], mode="bilinear", align_corners=True) for f in features]


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "silu": lambda x: x / (1 + (-x).exp()),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_cenet_computes_what_the_published_arrangement_computes(activation: str, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    network = settled(CENet(5, 20, activation=activation), generator).double()
    act, own = ACTIVATIONS[activation], Plainly(network, cenet_layout(5, 20))
    image = torch.randn(1, 5, 16, 24, generator=generator).double()
    with torch.no_grad():
        x = image
        for name in ("conv1", "conv2", "conv3"):
            x = act(own.norm(own.conv(x, f"{name}.conv"), f"{name}.bn"))
        scales = enlarged([x, *own.stages(x, act)], image)
        x = torch.cat(scales, dim=1)
        for name in ("conv_1", "conv_2"):
            x = act(own.norm(own.conv(x, f"{name}.conv"), f"{name}.bn"))
        expected = [own.conv(x, "semantic_output")]
        expected += [own.conv(scales[index + 1], f"aux_head{index}") for index in (1, 2, 3)]
        logits, heads = network(image, auxiliary=True)
    for ours, theirs in zip((logits, *heads), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.abs().max().item())


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"activation": "relu"}, "choose one of leaky_relu, hardswish, silu"), ({"blocks": ()}, "at least one stage")],
)
def test_what_cenet_cannot_be_is_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CENet(5, 20, **bad)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ FIDNet with ASPP

SMALL = (128, (128, 128, 256, 128), 128, False, 13_306_004)
LARGE = (64, (128, 128, 256, 256), 256, True, 19_641_492)


def aspp_layout(stem: int, widths: tuple[int, ...], branch: int, bias: bool) -> Layout:
    """Names and shapes of ResNet34_aspp_1 and _2 with 5 channels and 20 classes."""

    def with_bias(layer: Layout) -> Layout:
        for name, shape in layer:
            yield name, shape
            if bias and len(shape) == 4:
                yield name.replace("weight", "bias"), shape[:1]

    yield "conv1.weight", (stem, 5, 1, 1)
    yield "conv1.bias", (stem,)
    yield from with_bias(conv_and_norm("conv2", "bn", 128, stem, 1))
    yield from residual_stages(widths, 128)
    scales = 128 + sum(widths)
    for index in (1, 2, 3):
        yield from with_bias(conv_and_norm(f"conv_Aspp_{index}", f"bn{index}", branch, scales, 3))
    before = scales + 3 * branch
    for index, width in enumerate((512, 128), start=1):
        yield f"head.conv_{index}.weight", (width, before, 1, 1)
        yield f"head.conv_{index}.bias", (width,)
        yield f"head.bn{index}.weight", (width,)
        yield f"head.bn{index}.bias", (width,)
        before = width
    yield "head.semantic_output.weight", (20, 128, 1, 1)
    yield "head.semantic_output.bias", (20,)


@pytest.mark.parametrize(("aspp", "facts"), [("small", SMALL), ("large", LARGE)])
def test_aspp_variants_are_the_published_ones(
    aspp: str, facts: tuple[int, tuple[int, ...], int, bool, int], generator: torch.Generator
) -> None:
    torch.manual_seed(0)
    network = settled(FIDNet(5, 20, aspp=aspp), generator).double()  # type: ignore[arg-type]
    *shape, parameters = facts
    layout = list(aspp_layout(*shape))  # type: ignore[arg-type]
    assert [tuple(p.shape) for p in network.parameters()] == [size for _, size in layout]
    assert sum(p.numel() for p in network.parameters()) == parameters
    act, own = ACTIVATIONS["leaky_relu"], Plainly(network, iter(layout))
    image = torch.randn(1, 5, 16, 24, generator=generator).double()
    with torch.no_grad():
        x = act(own.norm(own.conv(own.conv(image, "conv1"), "conv2"), "bn"))
        scales = torch.cat(enlarged([x, *own.stages(x, act)], image), dim=1)
        branches = [act(own.norm(own.conv(scales, f"conv_Aspp_{i}", dilation=3 * i), f"bn{i}")) for i in (1, 2, 3)]
        x = torch.cat([scales, *branches], dim=1)
        for index in (1, 2):
            x = act(own.norm(own.conv(x, f"head.conv_{index}"), f"head.bn{index}"))
        expected = own.conv(x, "head.semantic_output")
        torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"aspp": "huge"}, "choose one of none, small"), ({"aspp": "small", "stem": (8,)}, "its own stem")],
)
def test_what_fidnet_cannot_be_is_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FIDNet(5, 20, **bad)  # type: ignore[arg-type]


@on_plane_and_cylinder
@pytest.mark.parametrize(("dilation", "width"), [(1, 5), (3, 5), (9, 4), (9, 24)])
def test_dilated_convolutions_see_beyond_the_seam_however_narrow_the_image(
    wrap: bool, dilation: int, width: int, generator: torch.Generator
) -> None:
    layer = Conv3x3(2, 3, dilation=dilation, wrap=wrap).double()
    image = torch.randn(1, 2, 4, width, generator=generator, dtype=torch.float64)
    kernel, expected = layer.weight.detach().numpy(), np.zeros((3, 4, width))
    for row, column, i, j in np.ndindex(4, width, 3, 3):
        y, x = row + dilation * (i - 1), column + dilation * (j - 1)
        if 0 <= y < 4 and (wrap or 0 <= x < width):
            expected[:, row, column] += kernel[:, :, i, j] @ image[0, :, y, x % width].numpy()
    np.testing.assert_allclose(layer(image)[0].detach().numpy(), expected, atol=1e-12)
    assert pad_azimuth(image, dilation).shape[-1] == width + 2 * dilation
