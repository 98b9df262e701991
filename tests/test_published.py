"""Published checkpoints arrive in our networks, tensor by tensor and in what they compute, or not at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published import Plain, State, checkpoint
from test_rangenet import rangenet_plainly
from test_squeezeseg import squeezeseg_plainly
from torch import Tensor, nn

from rangeseg.networks import NETWORKS, create_network
from rangeseg.networks.published import PARTS, import_state_dict, rename, unwrap
from rangeseg.networks.published_names import PUBLISHED_NAMES

LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "cenet_aux": ("cenet", {}),
    "fidnet_point_5ch": ("fidnet", {}),
    "fidnet_point_8ch_normal": ("fidnet", {"in_channels": 8}),
    "rangenet_darknet21": ("rangenet", {"blocks": 21}),
    "rangenet_darknet53": ("rangenet", {"blocks": 53}),
    "rangenet_squeezesegV2": ("squeezeseg", {}),
    "salsanext": ("salsanext", {}),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def make(layout: str, classes: int = 19) -> nn.Module:
    name, more = LAYOUTS[layout]
    torch.manual_seed(0)
    return create_network(name, **({"in_channels": 5, "num_classes": classes} | more))


def of_classes(name: str) -> bool:
    return re.match(r"(head\.1|logits|semantic_head\.semantic_output|semantic_output|aux_head\d)\.", name) is not None


def content(network: nn.Module) -> State:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@every_layout
@pytest.mark.parametrize("keep", [False, True])
def test_every_tensor_arrives_and_class_0_is_left_out_unless_it_has_a_place(
    layout: str, keep: bool, generator: torch.Generator
) -> None:
    state, network = checkpoint(layout, generator), make(layout, 20 if keep else 19)
    import_state_dict(network, state, drop_unlabelled=not keep)
    arrived = network.state_dict()
    assert len(arrived) == len(state)
    # parameters and buffers of both are in the order of the layers, so this asks nothing of the names
    for (theirs, value), ours in zip(state.items(), arrived.values(), strict=True):
        expected = value[1:] if of_classes(theirs) and not keep else value
        assert torch.equal(ours, expected), theirs


@every_layout
def test_wrapped_prefixed_and_own_states_are_the_same(layout: str, generator: torch.Generator) -> None:
    state = checkpoint(layout, generator)
    network = make(layout)
    import_state_dict(network, state)
    expected = content(network)
    prefixed = {f"module.{name}": value for name, value in state.items()}
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for other in ({"state_dict": state, "epoch": 3}, prefixed, {"model": prefixed}, expected, {"teacher": expected}):
        again = make(layout)
        import_state_dict(again, other)
        assert same(content(again), expected)
    again = make(layout)
    import_state_dict(again, old)
    counted = {name for name in expected if name.endswith("num_batches_tracked")}
    assert same(
        {name: value for name, value in content(again).items() if name not in counted},
        {name: value for name, value in expected.items() if name not in counted},
    )


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name.startswith("rangenet")])
def test_the_three_files_of_lidar_bonnetal_are_one_checkpoint(layout: str, generator: torch.Generator) -> None:
    state = checkpoint(layout, generator)
    parts = {
        part: {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        for part, start in PARTS.items()
    }
    assert same(unwrap(parts), state)
    network, other = make(layout), make(layout)
    import_state_dict(network, parts)
    import_state_dict(other, state)
    assert same(content(network), content(other))


@every_layout
def test_what_does_not_fit_is_all_told_and_nothing_is_loaded(layout: str, generator: torch.Generator) -> None:
    state, network = checkpoint(layout, generator), make(layout)
    before = content(network)
    gone, bent = [name for name in state if name.endswith(".weight")][2:6:3]
    bad = {name: value for name, value in state.items() if name != gone} | {"surplus.weight": torch.zeros(2)}
    bad[bent] = torch.zeros(*state[bent].shape, 2)
    kind = type(network)
    with pytest.raises(ValueError, match="Nothing was loaded") as error:
        import_state_dict(network, bad)
    said = str(error.value)
    assert f"1 missing: {rename(kind, gone)};" in said
    assert "1 unexpected: surplus.weight;" in said
    assert (
        f"1 with a different shape: {rename(kind, bent)} {tuple(bad[bent].shape)} (here {tuple(state[bent].shape)})"
        in said
    )
    assert same(content(network), before)


def test_other_classes_are_refused_unless_the_classifier_is_to_be_new(generator: torch.Generator) -> None:
    state, network = checkpoint("cenet_aux", generator), make("cenet_aux", 7)
    before = content(network)
    with pytest.raises(ValueError, match=r"has 20 classes, but this network has 7\. Build the network with 20"):
        import_state_dict(network, state)
    assert same(content(network), before)
    import_state_dict(network, state, classifier="new")
    heads = {name for name in before if name.startswith(("classify.", "auxiliary."))}
    after = content(network)
    assert len(heads) == 8
    assert same({name: after[name] for name in heads}, {name: before[name] for name in heads})
    assert torch.equal(after["stem.0.conv.weight"], state["conv1.conv.weight"])
    with pytest.raises(ValueError, match="has 20 classes, but this network has 19"):
        import_state_dict(make("cenet_aux"), state, drop_unlabelled=False)


def test_of_our_own_layout_no_class_is_dropped(generator: torch.Generator) -> None:
    bigger, network = make("salsanext", 20), make("salsanext", 19)
    with pytest.raises(ValueError, match="has 20 classes, but this network has 19"):
        import_state_dict(network, bigger.state_dict())


def test_a_network_without_a_public_original_takes_its_own_layout_alone() -> None:
    one, other = (create_network("deeplab_v3plus", in_channels=3, num_classes=4, layers=50, width=4) for _ in "ab")
    assert not same(content(one), content(other))
    import_state_dict(one, other.state_dict())
    assert same(content(one), content(other))
    with pytest.raises(ValueError, match="its classifier weights are unknown"):
        import_state_dict(one, other.state_dict(), classifier="new")


@pytest.mark.parametrize("bad", [{}, {"epoch": 3}, {"state_dict": {"a": [1.0]}}, {"backbone": {"a": 1}}])
def test_what_is_no_state_dict_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no named tensors"):
        import_state_dict(make("salsanext"), bad)


def test_the_table_has_networks_of_ours() -> None:
    assert PUBLISHED_NAMES.keys() <= set(NETWORKS.values())
    assert {NETWORKS[name] for name, _ in LAYOUTS.values()} == PUBLISHED_NAMES.keys()


# ------------------------------------------------------------------------------------------------ what they compute


def salsanext_plainly(own: Plain, x: Tensor) -> Tensor:
    """The published forward pass in eval mode, before its softmax."""

    def unit(x: Tensor, conv: str, norm: str, padding: int = 0, dilation: int = 1) -> Tensor:
        return own.norm(F.leaky_relu(own.conv(x, conv, padding=padding, dilation=dilation), 0.01), norm)

    def branches(x: Tensor, name: str, first: int) -> Tensor:
        one = unit(x, f"{name}.conv{first}", f"{name}.bn1", 1)
        two = unit(one, f"{name}.conv{first + 1}", f"{name}.bn2", 2, 2)
        three = unit(two, f"{name}.conv{first + 2}", f"{name}.bn3", 1, 2)
        return unit(torch.cat((one, two, three), 1), f"{name}.conv{first + 3}", f"{name}.bn4")

    for name in ("downCntx", "downCntx2", "downCntx3"):
        shortcut = F.leaky_relu(own.conv(x, f"{name}.conv1"), 0.01)
        x = unit(unit(shortcut, f"{name}.conv2", f"{name}.bn1", 1), f"{name}.conv3", f"{name}.bn2", 2, 2) + shortcut
    skips = []
    for number in range(1, 6):
        name = f"resBlock{number}"
        x = F.leaky_relu(own.conv(x, f"{name}.conv1"), 0.01) + branches(x, name, 2)
        skips.append(x)
        x = F.avg_pool2d(x, 3, 2, 1) if number < 5 else x
    for number in range(1, 5):
        x = branches(torch.cat((F.pixel_shuffle(x, 2), skips[4 - number]), 1), f"upBlock{number}", 1)
    return own.conv(x, "logits")


def residual_stages(own: Plain, x: Tensor, prefix: str, act: Any) -> list[Tensor]:
    """Four stages of ResNet-34, all brought to the size of what they read."""
    features, size = [], x.shape[-2:]
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, stride = f"{prefix}layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            hidden = act(own.norm(own.conv(x, f"{name}.conv1", stride=stride), f"{name}.bn1"))
            hidden = own.norm(own.conv(hidden, f"{name}.conv2"), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in own.state:
                x = own.norm(own.conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            x = act(hidden + x)
        features.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
    return features


def fidnet_plainly(own: Plain, x: Tensor) -> Tensor:
    """The published forward pass in eval mode."""

    def unit(x: Tensor, conv: str, norm: str) -> Tensor:
        return F.leaky_relu(own.norm(own.conv(x, conv), norm), 0.01)

    for number, norm in enumerate(("bn_0", "bn", "bn_1", "bn_2"), start=1):
        x = unit(x, f"backend.conv{number}", f"backend.{norm}")
    x = torch.cat((x, *residual_stages(own, x, "backend.", lambda x: F.leaky_relu(x, 0.01))), 1)
    for number in (1, 2):
        x = unit(x, f"semantic_head.conv_{number}", f"semantic_head.bn{number}")
    return own.conv(x, "semantic_head.semantic_output")


def cenet_plainly(own: Plain, x: Tensor) -> Tensor:
    """The published forward pass in eval mode, without its heads and before its softmax."""

    def unit(x: Tensor, name: str) -> Tensor:
        return F.hardswish(own.norm(own.conv(x, f"{name}.conv"), f"{name}.bn"))

    x = unit(unit(unit(x, "conv1"), "conv2"), "conv3")
    x = torch.cat((x, *residual_stages(own, x, "", F.hardswish)), 1)
    return own.conv(unit(unit(x, "conv_1"), "conv_2"), "semantic_output")


PLAINLY = {
    "cenet_aux": cenet_plainly,
    "fidnet_point_5ch": fidnet_plainly,
    "rangenet_darknet21": rangenet_plainly,
    "rangenet_squeezesegV2": squeezeseg_plainly,
    "salsanext": salsanext_plainly,
}


@pytest.mark.parametrize("layout", PLAINLY)
def test_an_imported_network_computes_what_the_original_does(layout: str, generator: torch.Generator) -> None:
    state, network = checkpoint(layout, generator), make(layout)
    import_state_dict(network, state)
    image = torch.randn(1, 5, 64, 64, generator=generator)
    with torch.no_grad():
        expected = PLAINLY[layout](Plain(state), image.double())
        found = network.eval()(image).double()
    assert expected.shape == (1, 20, 64, 64)
    torch.testing.assert_close(found, expected[:, 1:], rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    label, least = found.argmax(1), 1e-3 * expected.abs().max()
    top = expected[:, 1:].topk(2, dim=1)
    clear = top.values[:, 0] - top.values[:, 1] > least
    assert clear.float().mean() > 0.9
    assert torch.equal(label[clear], top.indices[:, 0][clear])
