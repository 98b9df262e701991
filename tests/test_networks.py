"""Laws of every network in the table, and of the interpolation they share."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks import NETWORKS, create_network
from rangeseg.networks.azimuth import circular_pad_width, upsample_align_corners, upsample_width
from rangeseg.networks.base import Network

CHANNELS, CLASSES = 5, 7
REDUCED: dict[str, dict[str, Any]] = {
    "fidnet": {"width": 8, "blocks": (1, 2, 1, 1)},
    "cenet": {"width": 8, "blocks": (1, 2, 1, 1)},
    "salsanext": {"width": 4},
    "foldnet": {"widths": (8, 8, 12), "blocks": (1, 2, 1), "hidden": (8, 8)},
    "rangenet": {"width": 2, "blocks": 21},
    "squeezeseg": {"width": 16},
}
"""What makes a network small enough to test; one without an entry is tested as it is."""

PHOTOGRAPHS = {"deeplab_v2", "deeplab_v3plus", "pspnet", "unet"}
"""Networks of any size on planes alone; tests/test_deeplab.py and test_unet.py have their laws."""

PLACED = {"rangevit"}
"""Networks with a position for each column, on planes alone; tests/test_rangevit.py has their laws."""

CASES = [(name, {}) for name in NETWORKS if name not in PHOTOGRAPHS | PLACED]
CASES += [("fidnet", {"azimuth_stride": 4}), ("fidnet", {"azimuth_stride": 3})]
CASES += [("fidnet", {"aspp": "small"}), ("fidnet", {"aspp": "large", "azimuth_stride": 2})]
CASES += [("foldnet", {"fold": 1}), ("foldnet", {"fold": 3})]
CASES += [("rangenet", {"blocks": (1, 2), "detach": False})]
CASES += [("squeezeseg", {"detach": False})]
CASES += [("cenet", {"activation": "leaky_relu", "auxiliary": False})]
every_network = pytest.mark.parametrize(("name", "more"), CASES)
on_plane_and_cylinder = pytest.mark.parametrize("wrap", [False, True])


def make(name: str, more: dict[str, Any], *, wrap: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return create_network(name, in_channels=CHANNELS, num_classes=CLASSES, wrap=wrap, **(REDUCED.get(name, {}) | more))


def heads_of(network: nn.Module) -> int:
    return len(getattr(network, "auxiliary", ()))


def settled(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """In eval mode, with BatchNorm statistics, scales and offsets as after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def draw(network: nn.Module, generator: torch.Generator, *, batch: int = 2, tiles: Sequence[int] = (1, 3)) -> Tensor:
    """A batch of images, so many strides high and wide."""
    rows, columns = (stride * count for stride, count in zip(network.stride, tiles, strict=True))
    return torch.randn(batch, CHANNELS, rows, columns, generator=generator)


# ------------------------------------------------------------------------------------------------ every network


@every_network
@on_plane_and_cylinder
@pytest.mark.parametrize("tiles", [(1, 1), (2, 1), (1, 3), (2, 5)])
def test_any_multiple_of_the_stride_gives_logits_of_the_image_size(
    name: str, more: dict[str, Any], wrap: bool, tiles: tuple[int, int], generator: torch.Generator
) -> None:
    network = make(name, more, wrap=wrap).eval()
    image = draw(network, generator, tiles=tiles)
    logits = network(image)
    assert logits.shape == (2, CLASSES, *image.shape[-2:])
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_network
@on_plane_and_cylinder
def test_every_parameter_gets_a_finite_gradient(
    name: str, more: dict[str, Any], wrap: bool, generator: torch.Generator
) -> None:
    network = make(name, more, wrap=wrap)
    image = draw(network, generator, tiles=(2, 3))
    logits, heads = network(image, auxiliary=True) if heads_of(network) else (network(image), [])
    sum(part.square().mean() for part in (logits, *heads)).backward()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert (name, key.split(".")[0]) == ("squeezeseg", "beside"), key  # nor does the published one learn
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if parameter.ndim == 4:  # a bias before BatchNorm rightly gets none
            assert parameter.grad.abs().max() > 0, key


@every_network
@pytest.mark.parametrize("axis", [0, 1])
def test_a_size_the_stride_does_not_divide_is_refused_with_the_nearest_right_ones(
    name: str, more: dict[str, Any], axis: int
) -> None:
    network = make(name, more)
    stride, size = network.stride[axis], [2 * step for step in network.stride]
    size[axis] += 1
    if stride == 1:
        assert network(torch.zeros(1, CHANNELS, *size)).shape == (1, CLASSES, *size)
        size[axis] = 0
        with pytest.raises(ValueError, match=r"0 .*stride 1\. Use 1\."):
            network(torch.zeros(1, CHANNELS, *size))
        return
    message = rf"{('height', 'width')[axis]} {2 * stride + 1} .*stride {stride}\. Use {2 * stride} or {3 * stride}\."
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(1, CHANNELS, *size))
    size[axis] = 1
    with pytest.raises(ValueError, match=rf"Use {stride}\."):
        network(torch.zeros(1, CHANNELS, *size))


@every_network
@pytest.mark.parametrize("shape", [(2, CHANNELS + 1), (CHANNELS,)])
def test_an_image_of_other_channels_is_refused(name: str, more: dict[str, Any], shape: tuple[int, ...]) -> None:
    network = make(name, more)
    with pytest.raises(ValueError, match=rf"expects \(B, {CHANNELS}, H, W\) and got"):
        network(torch.zeros(*shape, *network.stride))


@every_network
@pytest.mark.parametrize("tiles", [1, 2, -1])
def test_on_a_cylinder_rolled_images_give_rolled_logits(
    name: str, more: dict[str, Any], tiles: int, generator: torch.Generator
) -> None:
    network = settled(make(name, more, wrap=True), generator).double()
    image = draw(network, generator, tiles=(2, 4)).double()
    shift = tiles * network.stride[1]
    torch.testing.assert_close(network(image.roll(shift, -1)), network(image).roll(shift, -1), rtol=1e-10, atol=1e-10)


@every_network
def test_on_a_plane_the_sides_do_not_touch(name: str, more: dict[str, Any], generator: torch.Generator) -> None:
    network = settled(make(name, more), generator)
    image = draw(network, generator, tiles=(1, 40))
    changed = image.clone()
    changed[..., -1] += 1
    assert torch.equal(network(changed)[..., :2], network(image)[..., :2])
    assert not torch.equal(network(changed)[..., -2:], network(image)[..., -2:])


@every_network
@on_plane_and_cylinder
def test_in_eval_mode_a_view_does_not_see_its_batch(
    name: str, more: dict[str, Any], wrap: bool, generator: torch.Generator
) -> None:
    network = settled(make(name, more, wrap=wrap), generator).double()
    image = draw(network, generator, batch=3).double()
    torch.testing.assert_close(network(image)[1:2], network(image[1:2]), rtol=1e-10, atol=1e-10)


@every_network
def test_a_saved_state_gives_the_same_logits(name: str, more: dict[str, Any], generator: torch.Generator) -> None:
    network = settled(make(name, more), generator)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    other = create_network(name, in_channels=CHANNELS, num_classes=CLASSES, **(REDUCED.get(name, {}) | more)).eval()
    image = draw(network, generator)
    assert not torch.equal(other(image), network(image))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(image), network(image))


@every_network
@on_plane_and_cylinder
def test_auxiliary_logits_have_the_size_of_the_logits_which_they_leave_alone(
    name: str, more: dict[str, Any], wrap: bool, generator: torch.Generator
) -> None:
    network = settled(make(name, more, wrap=wrap), generator)
    image = draw(network, generator)
    if not heads_of(network):
        assert name != "cenet" or more["auxiliary"] is False
        with pytest.raises((ValueError, TypeError), match="auxiliary"):
            network(image, auxiliary=True)
        return
    logits, heads = network(image, auxiliary=True)
    assert torch.equal(logits, network(image))
    assert len(heads) == heads_of(network)
    for part in heads:
        assert part.shape == logits.shape
        assert not torch.equal(part, logits)


# ------------------------------------------------------------------------------------------------ the table


def test_an_unknown_name_is_refused_with_the_nearest_right_one() -> None:
    with pytest.raises(ValueError, match=r"network\.name: 'fidnte' is unknown\. Did you mean 'fidnet'\?"):
        create_network("fidnte", in_channels=5, num_classes=20)


class Classes(Network):
    """A user's own network."""

    def __init__(self, in_channels: int, num_classes: int, *, wrap: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.stride, self.gain, self.wrap = (1, 1), gain, wrap
        self.conv = nn.Conv2d(in_channels, num_classes, 1)


def test_module_colon_class_reaches_a_users_own_network() -> None:
    network = create_network(f"{__name__}:Classes", in_channels=3, num_classes=2, wrap=True, gain=2.0)
    assert type(network) is sys.modules[__name__].Classes
    assert (network.gain, network.wrap, network.conv.weight.shape) == (2.0, True, (2, 3, 1, 1))


@pytest.mark.parametrize("name", ["no_such_module:Net", "rangeseg.networks.fidnet:NoSuchNet"])
def test_a_class_that_cannot_be_imported_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*cannot be imported"):
        create_network(name, in_channels=5, num_classes=20)


# ------------------------------------------------------------------------------------------------ interpolation

Line = Callable[[np.ndarray], np.ndarray]


def along(axis: int, line: Line, values: np.ndarray) -> np.ndarray:
    return np.apply_along_axis(line, axis, values)


@on_plane_and_cylinder
@pytest.mark.parametrize("factor", [2, 3, 8])
def test_enlarge_corners_interpolates_as_numpy_does(wrap: bool, factor: int, generator: torch.Generator) -> None:
    image = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    height, width = 4 * factor, 5 * factor
    rows, columns = np.linspace(0, 3, height), np.linspace(0, 4, width)
    period = None
    if wrap:
        columns, period = np.arange(width) / factor, 5
    expected = along(-2, lambda line: np.interp(rows, np.arange(4), line), image.numpy())
    expected = along(-1, lambda line: np.interp(columns, np.arange(5), line, period=period), expected)
    result = upsample_align_corners(image, (height, width), wrap=wrap)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)


@on_plane_and_cylinder
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_enlarge_azimuth_interpolates_between_middles_as_numpy_does(
    wrap: bool, factor: int, generator: torch.Generator
) -> None:
    image = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    middles = np.arange(5) * factor + (factor - 1) / 2
    period = 5 * factor if wrap else None
    expected = along(-1, lambda line: np.interp(np.arange(5 * factor), middles, line, period=period), image.numpy())
    np.testing.assert_allclose(upsample_width(image, factor, wrap=wrap).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (0, 1), (4, 4)])
def test_columns_from_beyond_the_seam_and_their_gradients_are_those_of_torchs_padding(
    before: int, after: int, layout: torch.memory_format, generator: torch.Generator
) -> None:
    start = torch.randn(2, 3, 4, 9, generator=generator).to(memory_format=layout)
    weight = torch.randn(2, 3, 4, 9 + before + after, generator=generator).to(memory_format=layout)
    found = []
    for close in (
        partial(circular_pad_width, before=before, after=after),
        partial(F.pad, pad=(before, after, 0, 0), mode="circular"),
    ):
        image = start.clone(memory_format=torch.preserve_format).requires_grad_()
        closed = close(image)
        (closed * weight).sum().backward()
        found.append((closed.detach(), image.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    for tensor in found[0]:
        assert tensor.is_contiguous(memory_format=layout)
    with torch.no_grad():
        assert torch.equal(circular_pad_width(start, before, after), found[0][0])
