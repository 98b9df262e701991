"""DeepLab v2 and v3+ and their encoders: published sizes and names, any image size, frozen norms, files of weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rangeseg.config import OptimConfig
from rangeseg.engine.optimizer import make_optimizer, parameter_groups
from rangeseg.networks import create_network
from rangeseg.networks.base import Network
from rangeseg.networks.pretrained import load_encoder
from rangeseg.networks.resnet import Bottleneck, ResNet
from rangeseg.registry import ConfigError
from rangeseg.teacher import EmaTeacher

NAMES = ["deeplab_v2", "deeplab_v3plus"]
every_network = pytest.mark.parametrize("name", NAMES)


def make(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_network(name, in_channels=3, num_classes=5, layers=50, width=4, **more)


def image(rows: int = 33, columns: int = 49, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert count(ResNet(layers=50)) == 25_557_032 - 2_049_000  # torchvision's, less the classifier
        assert count(ResNet(layers=101)) == 44_549_160 - 2_049_000
        assert round(count(create_network("deeplab_v3plus", in_channels=3, num_classes=21)) / 1e6, 2) == 59.34
        head = create_network("deeplab_v2", in_channels=3, num_classes=21).head
    assert count(head) == 4 * (2048 * 21 * 9 + 21)


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        state = {name: tuple(value.shape) for name, value in ResNet(layers=50).state_dict().items()}
    expected = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.bias": (256,),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.2.bn3.weight": (2048,),
    }
    assert expected.items() <= state.items()
    assert len(state) == 1 + 5 + 16 * 18 + 4 * 6  # stem; 16 blocks of 3 convolutions and norms; 4 shortcuts
    assert not any(name.startswith("fc") for name in state)


@pytest.mark.parametrize("caffe", [False, True])
@pytest.mark.parametrize(("output_stride", "sizes"), [(8, (16, 8, 8, 8)), (16, (16, 8, 4, 4)), (32, (16, 8, 4, 2))])
def test_stages_have_the_size_of_their_stride(caffe: bool, output_stride: int, sizes: tuple[int, ...]) -> None:
    encoder = ResNet(layers=50, output_stride=output_stride, caffe=caffe, width=4).eval()
    stages = encoder(image(64, 64))
    grown = int(caffe)  # its pool rounds up
    assert [stage.shape[-1] for stage in stages] == [32] + [size + grown for size in sizes]
    assert tuple(stage.shape[1] for stage in stages) == encoder.channels


def test_a_dilated_block_is_the_plain_one_on_every_other_pixel() -> None:
    torch.manual_seed(0)
    dilated = Bottleneck(8, 2, stride=1, dilation=2, stride_first=False).eval()
    plain = Bottleneck(8, 2, stride=1, dilation=1, stride_first=False).eval()
    plain.load_state_dict(dilated.state_dict())
    whole = torch.randn(1, 8, 10, 12)
    torch.testing.assert_close(dilated(whole)[..., ::2, ::2], plain(whole[..., ::2, ::2].contiguous()))


@pytest.mark.parametrize("settings", [{"layers": 20}, {"output_stride": 4}])
def test_other_trunks_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="choose from"):
        ResNet(**settings)


@every_network
@pytest.mark.parametrize("size", [(33, 49), (32, 64), (41, 17)])
def test_any_size_gives_logits_of_that_size(name: str, size: tuple[int, int]) -> None:
    logits = make(name).eval()(image(*size))
    assert logits.shape == (2, 5, *size)
    assert logits.isfinite().all()


@every_network
def test_every_weight_gets_a_gradient_and_the_mode_of_eval_ignores_batch_mates(name: str) -> None:
    network = make(name)
    network(image()).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    network.eval()
    torch.testing.assert_close(network(image())[1:], network(image()[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("more", [{}, {"branches": 2}, {"branches": 1}])
def test_every_trained_weight_gets_a_gradient_or_several_processes_would_wait_for_it(more: dict[str, Any]) -> None:
    network = make("deeplab_v2", **more)
    network(torch.randn(2, 3, 33, 33)).square().sum().backward()
    assert not [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert sum(not weight.requires_grad for weight in network.parameters()) == 2 * (4 - more.get("branches", 4))


def test_the_papers_code_trains_two_branches_of_four() -> None:
    quirk, whole = make("deeplab_v2", branches=2), make("deeplab_v2")
    quirk(image()).square().mean().backward()
    used = [branch.weight.grad is not None for branch in quirk.head]
    assert used == [True, True, False, False]
    whole.eval()
    quirk.eval()
    quirk.load_state_dict(whole.state_dict())
    features = whole.backbone(image())[-1]
    rest = sum(branch(features) for branch in list(whole.head)[2:])
    rest = nn.functional.interpolate(rest, size=(33, 49), mode="bilinear", align_corners=True)
    torch.testing.assert_close(whole(image()), quirk(image()) + rest, atol=1e-5, rtol=1e-4)


@every_network
@pytest.mark.parametrize("frozen", ["none", "backbone", "all"])
def test_frozen_norms_keep_their_statistics_in_every_mode(name: str, frozen: str) -> None:
    network = make(name, freeze_batchnorm=frozen)
    before = copy.deepcopy(network.state_dict())
    for _ in range(2):
        network.eval()
        network.train()
        network(image()).square().mean().backward()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(before[key], value)}
    statistics = {key for key in before if "running" in key}
    kept = {"none": set(), "backbone": {k for k in statistics if k.startswith("backbone.")}, "all": statistics}[frozen]
    assert moved & statistics == statistics - kept
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.weight.requires_grad == (frozen != "all") for norm in norms)
    teacher = EmaTeacher(network, mode="train")
    assert [m.training for m in teacher.network.modules()] == [m.training for m in network.modules()]


@every_network
@pytest.mark.parametrize(
    ("settings", "said"),
    [({"wrap": True}, "does not support wrap"), ({"freeze_batchnorm": "head"}, "choose none, backbone")],
)
def test_what_does_not_fit_is_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(name, **settings)
    with pytest.raises(ValueError, match=r"expects \(B, 3, H, W\)"):
        make(name)(torch.zeros(1, 4, 16, 16))


class TestWeights:
    """Trunks from files."""

    def saved(self, path: Path, **change: Any) -> Path:
        torch.manual_seed(5)
        state = ResNet(layers=50, width=4).state_dict() | {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
        state = {key: value for key, value in (state | change).items() if value is not None}
        torch.save(state, path)
        return path

    @every_network
    def test_a_files_weights_are_taken_over(self, name: str, tmp_path: Path) -> None:
        path = self.saved(tmp_path / "r50.pth")
        network = make(name, weights=str(path))
        for key, value in torch.load(path, weights_only=True).items():
            if not key.startswith("fc."):
                assert torch.equal(network.backbone.state_dict()[key], value)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"conv1.weight": torch.zeros(4, 1, 7, 7)}, r"conv1\.weight has shape \(4, 1, 7, 7\), not \(4, 3, 7, 7\)"),
            ({"bn1.weight": None}, r"bn1\.weight is missing \(1 in all\)"),
            ({"layer5.weight": torch.zeros(1)}, r"layer5\.weight is unknown"),
        ],
    )
    def test_weights_that_do_not_fit_are_refused(self, change: dict[str, Any], said: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=said):
            make("deeplab_v2", weights=str(self.saved(tmp_path / "a.pth", **change)))

    def test_old_files_without_counters_fit(self, tmp_path: Path) -> None:
        state = {k: v for k, v in ResNet(layers=50, width=4).state_dict().items() if "num_batches" not in k}
        torch.save(state, tmp_path / "old.pth")
        load_encoder(ResNet(layers=50, width=4), str(tmp_path / "old.pth"), 50)

    def test_files_that_are_no_weights_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "half.pth").write_bytes(b"PK\x03\x04 and no more")
        torch.save([1, 2], tmp_path / "list.pth")
        for name, said in (("half.pth", "cannot be read"), ("list.pth", "holds a list"), ("absent", "is not a file")):
            with pytest.raises(ValueError, match=said):
                make("deeplab_v2", weights=str(tmp_path / name))

    def test_no_network_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: Any, **settings: Any) -> None:
            raise OSError("no route to host")

        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
        with pytest.raises(ValueError, match=r"could not be downloaded \(no route to host\)\. Download it elsewhere"):
            make("deeplab_v2", weights="imagenet")


class Bare(Network):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


class TestGroups:
    """Learning rates of parts."""

    def test_parts_have_their_multipliers_and_every_weight_its_place(self) -> None:
        network = make("deeplab_v3plus")
        groups = parameter_groups(network, 0.1, {"backbone": 0.1})
        assert [group["multiplier"] for group in groups] == [0.1, 0.1, 1.0, 1.0]
        assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1, 0.0]
        listed = [id(p) for group in groups for p in group["params"]]
        assert sorted(listed) == sorted(id(p) for p in network.parameters())
        assert {id(p) for p in network.backbone.parameters()} == {
            id(p) for group in groups[:2] for p in group["params"]
        }

    def test_frozen_weights_are_in_no_group(self) -> None:
        network = make("deeplab_v2", freeze_batchnorm="all")
        listed = sum(len(group["params"]) for group in parameter_groups(network, 0.0))
        assert listed == sum(p.requires_grad for p in network.parameters()) < len(list(network.parameters()))

    def test_an_unknown_part_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"optim\.lr_multipliers\.backbon: .*Did you mean 'backbone'"):
            parameter_groups(make("deeplab_v2"), 0.0, {"backbon": 0.1})

    @pytest.mark.parametrize("wrong", ["twice", "left out"])
    def test_a_weight_listed_twice_or_left_out_is_refused(self, wrong: str) -> None:
        class Wrong(nn.Linear):
            def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
                return {"a": [self.weight] * 2 + [self.bias]} if wrong == "twice" else {"a": [self.weight]}

        with pytest.raises(ValueError, match=r"list each trained parameter once"):
            parameter_groups(Wrong(2, 2), 0.0)

    @pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
    def test_optimizers_are_those_of_their_names(self, name: str, kind: type) -> None:
        made = make_optimizer(Bare(), OptimConfig(name=name, steps=1))
        assert type(made) is kind
        assert all(group["multiplier"] == 1.0 for group in made.param_groups)

    @pytest.mark.parametrize("name", ["adam", "adamw"])
    def test_a_momentum_that_the_optimizer_does_not_have_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match=rf"optim\.nesterov: {name} has no Nesterov momentum"):
            make_optimizer(Bare(), OptimConfig(name=name, nesterov=True, steps=1))
        (group, _) = make_optimizer(Bare(), OptimConfig(name="sgd", nesterov=True, steps=1)).param_groups
        assert group["nesterov"]
