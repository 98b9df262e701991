"""The U-net, PSPNet and their encoders: published sizes, any image, one layout of weights; timm's by its own rules."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rangeseg.networks import create_network
from rangeseg.networks.encoders import TimmEncoder, make_encoder
from rangeseg.networks.pspnet import part_means
from rangeseg.networks.resnet import ResNet

DENSENET_161 = (96, 384, 768, 2112, 2208)
"""Channels of its features, at 1/2 to 1/32 of the image."""


class FakeTimm(types.ModuleType):
    """timm as this project calls it, with one network of five convolutions."""

    def __init__(
        self, channels: tuple[int, ...] = (4, 6, 8, 10, 11), reduction: tuple[int, ...] = (2, 4, 8, 16, 32)
    ) -> None:
        super().__init__("timm")
        self.channels, self.reduction = channels, reduction
        self.calls: list[dict[str, Any]] = []

    def create_model(self, name: str, **settings: Any) -> nn.Module:
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        self.calls.append({"name": name} | settings)
        made = FakeFeatures(settings["in_chans"], self.channels, self.reduction)
        if path := settings.get("pretrained_cfg_overlay", {}).get("file"):
            made.load_state_dict(torch.load(path), strict=False)  # as timm does for networks without a classifier
        return made


class FakeFeatures(nn.Module):
    def __init__(self, before: int, channels: tuple[int, ...], reduction: tuple[int, ...]) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for after in channels:
            self.steps.append(nn.Conv2d(before, after, 3, 2, 1))
            before = after
        self.feature_info = types.SimpleNamespace(channels=lambda: [*channels], reduction=lambda: [*reduction])

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for step in self.steps:
            image = step(image)
            features.append(image)
        return features


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def make(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_network(name, **({"in_channels": 3, "num_classes": 5, "encoder": "resnet18", "width": 4} | more))


def image(rows: int = 64, columns: int = 96) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def test_small_resnets_are_torchvisions() -> None:
    with torch.device("meta"):
        assert count(ResNet(layers=18)) == 11_689_512 - 513_000  # torchvision's, less the classifier
        assert count(ResNet(layers=34)) == 21_797_672 - 513_000
        state = ResNet(layers=18).state_dict()
    assert tuple(state["layer2.0.conv1.weight"].shape) == (128, 64, 3, 3)
    assert tuple(state["layer2.0.downsample.0.weight"].shape) == (128, 64, 1, 1)
    assert "layer1.0.downsample.0.weight" not in state


def test_the_decoders_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(network: nn.Module) -> list[tuple[int, int]]:
        return [(block[0].in_channels, block[0].out_channels) for block in network.decoder]

    monkeypatch.setitem(sys.modules, "timm", FakeTimm(DENSENET_161))
    with torch.device("meta"):
        dense = make("unet", encoder="timm:densenet161", width=64)
        resnet = make("unet", encoder="resnet101", width=64)
    assert blocks(dense) == [(2208, 768), (768, 384), (384, 96), (96, 96)]
    assert dense.lateral.weight.shape == (2208, 2112, 1, 1)
    assert blocks(resnet) == [(1024, 512), (512, 256), (256, 64), (64, 64)]
    assert resnet.lateral.weight.shape == (1024, 2048, 1, 1)
    for network in (dense, resnet):
        assert network.last.out_channels == 64
        assert network.classify.weight.shape == (5, 64, 1, 1)


def test_the_pyramid_is_the_published_one() -> None:
    with torch.device("meta"):
        network = create_network("pspnet", in_channels=3, num_classes=21)
    assert [conv[0].weight.shape for conv in network.pyramid] == [(512, 2048, 1, 1)] * 4
    assert network.fuse[0][0].weight.shape == (512, 2048 + 4 * 512, 3, 3)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "timm:any"])
@pytest.mark.parametrize("name", ["unet", "pspnet"])
def test_every_weight_learns_and_eval_ignores_batch_mates(
    name: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    if (name, encoder) == ("pspnet", "timm:any"):
        with pytest.raises(ValueError, match=r"timm:any has output stride 32, not 8; choose a ResNet"):
            make(name, encoder=encoder)
        return
    network = make(name, encoder=encoder)
    logits = network(image())
    assert logits.shape == (2, 5, 64, 96)
    logits.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    groups = network.parameter_groups()
    assert sum(len(group) for group in groups.values()) == len([*network.parameters()])
    network.eval()
    torch.testing.assert_close(network(image())[1:], network(image()[1:]), atol=1e-5, rtol=1e-4)


def test_a_unet_asks_for_whole_blocks_and_pspnet_for_nothing() -> None:
    with pytest.raises(ValueError, match=r"width 100 is not divisible by the network's stride 32\. Use 96 or 128"):
        make("unet")(image(64, 100))
    assert make("pspnet").eval()(image(33, 49)).shape == (2, 5, 33, 49)
    with pytest.raises(ValueError, match="does not support wrap"):
        make("unet", wrap=True)


def test_unknown_trunks_and_absent_timm_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"'resnet20' is unknown; choose from resnet18, resnet34, resnet50, resnet101, or timm"
    ):
        make_encoder("resnet20", 3)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:densenet161 needs timm, which cannot be imported here"):
        make_encoder("timm:densenet161", 3)


def test_timm_is_asked_for_features_and_for_ones_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timm = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", timm)
    TimmEncoder("densenet161", 4)
    TimmEncoder("densenet161", weights="imagenet")
    state = {name: torch.ones_like(one) for name, one in TimmEncoder("densenet161").body.state_dict().items()}
    torch.save(state, tmp_path / "own.pth")
    timm.calls[2:] = []
    TimmEncoder("densenet161", weights=str(tmp_path / "own.pth"))
    plain, imagenet, own, fresh = timm.calls
    assert fresh == plain | {"in_chans": 3}
    assert plain == {"name": "densenet161", "pretrained": False, "in_chans": 4, "features_only": True}
    assert imagenet == plain | {"pretrained": True, "in_chans": 3}
    assert own == imagenet | {"pretrained_cfg_overlay": {"file": str(tmp_path / "own.pth")}}
    with pytest.raises(ValueError, match=r"timm:unknown with weights: none cannot be made \(Unknown model"):
        TimmEncoder("unknown")
    monkeypatch.setitem(sys.modules, "timm", FakeTimm(reduction=(4, 8, 16, 32, 64)))
    with pytest.raises(ValueError, match=r"choose another network, e\.g\. timm:densenet161"):
        TimmEncoder("vit")


def test_a_file_that_does_not_fit_timms_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    state = {name: torch.ones_like(one) for name, one in TimmEncoder("densenet161").body.state_dict().items()}
    for name, wrong, count in (("other", {f"x.{key}": one for key, one in state.items()}, 5), ("part", {**state}, 1)):
        if name == "part":
            del wrong["steps.3.weight"]
        torch.save(wrong, tmp_path / f"{name}.pth")
        first = "steps.3.weight" if name == "part" else "steps.0.weight"
        with pytest.raises(ValueError, match=rf"{name}.pth has no fitting weights for {count} layers.* {first}"):
            TimmEncoder("densenet161", weights=str(tmp_path / f"{name}.pth"))
    torch.save(state, tmp_path / "own.pth")
    drawn = []
    for weights in ("none", str(tmp_path / "own.pth")):
        torch.manual_seed(3)
        TimmEncoder("densenet161", weights=weights)
        drawn.append(torch.rand(()))
    assert drawn[0] == drawn[1]  # the comparison draws from a generator of its own


def test_trunk_weights_come_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    saved = ResNet(layers=18, width=4).state_dict() | {"fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}
    torch.save(saved, tmp_path / "resnet18.pth")
    network = make("unet", weights=str(tmp_path / "resnet18.pth"))
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, saved[name]), name


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 12), (13, 4)])
@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_means_of_parts_are_torchs(size: tuple[int, int], parts: int) -> None:
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = nn.functional.adaptive_avg_pool2d(features, parts)
    torch.testing.assert_close(part_means(features, parts), expected)
