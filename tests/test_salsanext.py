"""SalsaNext beside the published checkpoint's shapes, and beside its forward pass written out plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rangeseg.networks.salsanext import SalsaNext

LAYOUT = Path(__file__).parents[2] / "shared" / "reference" / "layouts" / "salsanext.json"


def test_the_published_network_has_its_published_size() -> None:
    network = SalsaNext(5, 20)
    assert sum(weight.numel() for weight in network.parameters()) == 6_711_572


def test_weights_have_the_order_and_shapes_of_the_published_checkpoint() -> None:
    if not LAYOUT.is_file():
        pytest.skip(reason=f"{LAYOUT} is not there")
    published = [tuple(shape) for _, shape in json.loads(LAYOUT.read_text())["tensors"]]
    assert [tuple(weight.shape) for weight in SalsaNext(5, 20).parameters()] == published


def plain(network: SalsaNext, image: Tensor) -> Tensor:
    """The published forward pass in eval mode, from the parameters in the order of the checkpoint."""
    weights = iter([weight.double() for weight in network.parameters()])
    means = iter([buffer.double() for name, buffer in network.named_buffers() if name.endswith("running_mean")])
    variances = iter([buffer.double() for name, buffer in network.named_buffers() if name.endswith("running_var")])

    def conv(x: Tensor, padding: int = 0, dilation: int = 1) -> Tensor:
        return F.conv2d(x, next(weights), next(weights), padding=padding, dilation=dilation)

    def unit(x: Tensor, padding: int = 0, dilation: int = 1) -> Tensor:
        x = F.leaky_relu(conv(x, padding, dilation), 0.01)
        return F.batch_norm(x, next(means), next(variances), next(weights), next(weights), eps=1e-5)

    def context(x: Tensor) -> Tensor:
        shortcut = F.leaky_relu(conv(x), 0.01)
        return shortcut + unit(unit(shortcut, 1), 2, 2)

    def branches(x: Tensor) -> Tensor:
        first = unit(x, 1)
        second = unit(first, 2, 2)
        third = unit(second, 1, 2)
        return unit(torch.cat((first, second, third), 1))

    x = context(context(context(image.double())))
    skips = []
    for number in range(5):
        shortcut = F.leaky_relu(conv(x), 0.01)
        skips.append(shortcut + branches(x))
        x = F.avg_pool2d(skips[-1], 3, 2, 1) if number < 4 else skips[-1]
    for skip in skips[3::-1]:
        x = branches(torch.cat((F.pixel_shuffle(x, 2), skip), 1))
    return conv(x)


def test_it_computes_what_the_published_code_does() -> None:
    generator = torch.Generator().manual_seed(0)
    network = SalsaNext(5, 7, width=4).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    image = torch.randn(2, 5, 32, 48, generator=generator)
    with torch.no_grad():
        expected = plain(network, image)
        torch.testing.assert_close(network(image).double(), expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_for_training_alone_and_spares_the_first_block_and_the_last() -> None:
    torch.manual_seed(0)
    network, image = SalsaNext(2, 3, width=2, dropout=1.0), torch.randn(1, 2, 16, 32)
    seen: list[Tensor] = []
    network.encoder[1].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network.decoder[3].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(image)
    assert seen[0].abs().sum() > 0  # of the first block nothing is left out
    assert seen[1][:, 1:].abs().sum() > 0  # nor of what the last one reads beside
    assert torch.equal(network.eval()(image), network(image))


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width is 3, give an even number"):
        SalsaNext(5, 20, width=3)
