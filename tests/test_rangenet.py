"""RangeNet++ beside the published checkpoints' shapes, and beside its forward pass written out plainly."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published import Plain, checkpoint, layout
from torch import Tensor

from rangeseg.networks.columns import DoubleColumns, MaxPool
from rangeseg.networks.rangenet import RangeNet


@pytest.mark.parametrize(("layers", "parameters"), [(21, 24_712_980), (53, 50_377_364)])
def test_weights_have_the_number_order_and_shapes_of_the_published_checkpoint(layers: int, parameters: int) -> None:
    with torch.device("meta"):
        network = RangeNet(5, 20, blocks=layers)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    assert network.stride == (1, 32)
    published = [shape for _, shape in layout(f"rangenet_darknet{layers}")]
    assert [tuple(weight.shape) for weight in network.parameters()] == published


def rangenet_plainly(own: Plain, x: Tensor) -> Tensor:
    """The published forward pass in eval mode, before its softmax."""

    def unit(x: Tensor, conv: str, norm: str, **how: object) -> Tensor:
        return F.leaky_relu(own.norm(own.conv(x, conv, **how), norm), 0.1)

    def residual(x: Tensor, name: str) -> Tensor:
        return x + unit(unit(x, f"{name}.conv1", f"{name}.bn1"), f"{name}.conv2", f"{name}.bn2")

    x = unit(x, "backbone.conv1", "backbone.bn1")
    skips = []
    for stage in range(1, 6):
        skips.append(x)
        name = f"backbone.enc{stage}"
        x = unit(x, f"{name}.conv", f"{name}.bn", stride=(1, 2))
        for number in count():
            if f"{name}.residual_{number}.conv1.weight" not in own.state:
                break
            x = residual(x, f"{name}.residual_{number}")
    for stage in range(5, 0, -1):
        name = f"decoder.dec{stage}"
        x = F.leaky_relu(own.norm(own.double(x, f"{name}.upconv"), f"{name}.bn"), 0.1)
        x = residual(x, f"{name}.residual") + skips[stage - 1]
    return own.conv(x, "head.1")


@pytest.mark.parametrize("layers", [21, pytest.param(53, marks=pytest.mark.slow)])
def test_it_computes_what_the_published_code_does(layers: int, generator: torch.Generator) -> None:
    state = checkpoint(f"rangenet_darknet{layers}", generator)
    network = RangeNet(5, 20, blocks=layers).eval()
    with torch.no_grad():
        for own, theirs in zip(network.state_dict().values(), state.values(), strict=True):
            own.copy_(theirs)
        image = torch.randn(1, 5, 8, 64, generator=generator)
        expected = rangenet_plainly(Plain(state), image.double())
        found = network(image).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("detach", [True, False])
def test_the_encoder_learns_through_its_last_stage_alone_unless_asked_otherwise(
    detach: bool, generator: torch.Generator
) -> None:
    torch.manual_seed(0)
    network = RangeNet(5, 3, blocks=(1, 1), width=4, detach=detach)
    network.decoder[0].register_forward_pre_hook(lambda module, given: (given[0].detach(),))
    network(torch.randn(2, 5, 4, 32, generator=generator)).square().mean().backward()
    assert (network.stem.conv.weight.grad is None) == detach


def test_dropout_is_for_training_alone(generator: torch.Generator) -> None:
    network, image = RangeNet(5, 3, blocks=(1,), width=2, dropout=1.0), torch.randn(1, 5, 2, 8, generator=generator)
    logits = network(image)
    assert torch.equal(logits, network.classify.bias.view(1, -1, 1, 1).expand_as(logits))
    assert torch.equal(network.eval()(image), network(image))
    assert not torch.equal(network(image), logits)


@pytest.mark.parametrize("blocks", [22, ()])
def test_what_rangenet_cannot_be_is_refused(blocks: object) -> None:
    with pytest.raises(ValueError, match=r"give 21, 53, or units like"):
        RangeNet(5, 20, blocks=blocks)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ columns


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_columns_are_doubled_as_the_sum_says(wrap: bool, width: int, generator: torch.Generator) -> None:
    layer = DoubleColumns(2, 3, wrap=wrap).double()
    image = torch.randn(1, 2, 2, width, generator=generator, dtype=torch.float64)
    kernel = layer.weight.detach().numpy()
    expected = np.zeros((3, 2, 2 * width)) + layer.bias.detach().numpy()[:, None, None]
    for column, tap in np.ndindex(width, 4):
        to = 2 * column - 1 + tap
        if wrap or 0 <= to < 2 * width:
            expected[:, :, to % (2 * width)] += kernel[:, :, 0, tap].T @ image[0, :, :, column].numpy()
    np.testing.assert_allclose(layer(image)[0].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "width"), [(3, 2, 6), (7, 1, 5), (7, 1, 2)])
def test_the_largest_around_is_numpys(
    wrap: bool, kernel: int, stride: int, width: int, generator: torch.Generator
) -> None:
    image = torch.randn(1, 2, 4, width, generator=generator)
    margin = kernel // 2
    expected = np.empty((2, 4, width // stride), np.float32)
    for row, column in np.ndindex(4, width // stride):
        rows = range(max(0, row - margin), min(4, row + margin + 1))
        columns = range(stride * column - margin, stride * column + margin + 1)
        kept = [c % width for c in columns if wrap or 0 <= c < width]
        expected[:, row, column] = image[0].numpy()[:, rows][:, :, kept].max(axis=(1, 2))
    np.testing.assert_array_equal(MaxPool(kernel, stride, wrap=wrap)(image)[0].numpy(), expected)
