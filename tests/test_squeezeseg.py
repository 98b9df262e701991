"""SqueezeSegV2 beside the published checkpoint's shapes, and beside its forward pass written out plainly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from published import Plain, checkpoint, layout
from torch import Tensor

from rangeseg.networks.squeezeseg import SqueezeSegV2

LAYOUT = "rangenet_squeezesegV2"


def test_weights_have_the_number_order_and_shapes_of_the_published_checkpoint() -> None:
    network = SqueezeSegV2(5, 20)
    assert sum(weight.numel() for weight in network.parameters()) == 928_464
    assert network.stride == (1, 16)
    assert [tuple(weight.shape) for weight in network.parameters()] == [shape for _, shape in layout(LAYOUT)]


def squeezeseg_plainly(own: Plain, image: Tensor) -> Tensor:
    """The published forward pass in eval mode, before its softmax."""

    def attend(x: Tensor, name: str) -> Tensor:
        y = F.max_pool2d(x, 7, 1, 3)
        y = own.norm(own.conv(y, f"{name}.squeeze"), f"{name}.squeeze_bn").relu()
        return own.norm(own.conv(y, f"{name}.unsqueeze"), f"{name}.unsqueeze_bn").sigmoid() * x

    def fire(x: Tensor, name: str) -> Tensor:
        x = own.norm(own.conv(x, f"{name}.squeeze"), f"{name}.squeeze_bn").relu()
        if f"{name}.upconv.weight" in own.state:
            x = own.double(x, f"{name}.upconv").relu()
        wide = (own.norm(own.conv(x, f"{name}.expand{k}x{k}"), f"{name}.expand{k}x{k}_bn").relu() for k in (1, 3))
        return torch.cat(tuple(wide), 1)

    beside = own.norm(own.conv(image, "backbone.conv1b.0"), "backbone.conv1b.1")
    x = own.norm(own.conv(image, "backbone.conv1a.0", stride=(1, 2)), "backbone.conv1a.1").relu()
    x = attend(x, "backbone.conv1a.3")
    skips = [beside]
    for name, parts in (("fire23", (fire, attend, fire, attend)), ("fire45", (fire,) * 2), ("fire6789", (fire,) * 4)):
        skips.append(x)
        x = F.max_pool2d(x, 3, (1, 2), 1)
        for number, part in enumerate(parts, start=1):
            x = part(x, f"backbone.{name}.{number}")
    for number in (10, 11, 12, 13):
        x = fire(x, f"decoder.firedec{number}") + skips.pop()
    return own.conv(x, "head.1")


def test_it_computes_what_the_published_code_does(generator: torch.Generator) -> None:
    state = checkpoint(LAYOUT, generator)
    network = SqueezeSegV2(5, 20).eval()
    image = torch.randn(2, 5, 16, 64, generator=generator)
    with torch.no_grad():
        for own, theirs in zip(network.state_dict().values(), state.values(), strict=True):
            own.copy_(theirs)
        expected = squeezeseg_plainly(Plain(state), image.double())
        found = network(image).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("detach", [True, False])
def test_what_only_a_detached_path_reaches_is_frozen(detach: bool) -> None:
    network = SqueezeSegV2(5, 3, width=16, detach=detach)
    frozen = {name.split(".")[0] for name, weight in network.named_parameters() if not weight.requires_grad}
    assert frozen == ({"beside"} if detach else set())


@pytest.mark.parametrize("width", [0, 24])
def test_a_width_that_attention_cannot_squeeze_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width={width}; give a multiple"):
        SqueezeSegV2(5, 20, width=width)
