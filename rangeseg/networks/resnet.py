"""Dilated ResNets, the encoders of photograph networks, with torchvision's names for its published weights.

Shapes: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.networks.layers import Conv1x1

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Layers -> blocks of each stage. From 50 layers on, blocks are bottlenecks."""

DILATIONS = {8: ((1, 1), (2, 1), (1, 2), (1, 4)), 16: ((1, 1), (2, 1), (2, 1), (1, 2)), 32: ((1, 1),) + ((2, 1),) * 3}
"""Output stride -> stride and dilation of each stage."""

Freeze = Literal["none", "backbone", "all"]


class Encoder(nn.Module):
    """An encoder, usually trained on ImageNet: (B, C, H, W) -> features, the first at half of the size."""

    in_channels: int
    """C of the images."""

    channels: tuple[int, ...]
    """Number of channels of each of the features."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut.

    Args:
        in_channels: C of the input.
        width: of the 3x3 convolution; the output has four times as many channels.
        stride: of the block.
        dilation: of the 3x3 convolution.
        stride_first: the first 1x1 convolution has the stride, as in Caffe; False: the 3x3 one, as in torchvision.

    Source:
        He et al., CVPR 2016, figure 5.
    """

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int, stride_first: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = Conv1x1(in_channels, width, stride=first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = Conv1x1(width, 4 * width)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != 4 * width:
            self.downsample = nn.Sequential(Conv1x1(in_channels, 4 * width, stride=stride), nn.BatchNorm2d(4 * width))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, H / stride, W / stride), rounded up."""
        out = F.relu(self.bn1(self.conv1(image)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return F.relu(out + (image if self.downsample is None else self.downsample(image)), inplace=True)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, both dilated.

    Args:
        in_channels: C of the input.
        width: channels of the output.
        stride: of the first convolution.
        dilation: of both.

    Source:
        He et al., CVPR 2016, figure 5.
    """

    def __init__(self, in_channels: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != width:
            self.downsample = nn.Sequential(Conv1x1(in_channels, width, stride=stride), nn.BatchNorm2d(width))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H / stride, W / stride), rounded up."""
        out = F.relu(self.bn1(self.conv1(image)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + (image if self.downsample is None else self.downsample(image)), inplace=True)


class ResNet(Encoder):
    """A ResNet without its classifier; stages beyond the output stride are dilated instead of strided.

    Args:
        in_channels: C.
        layers: 18, 34, 50 or 101.
        output_stride: 8, 16 or 32: how much smaller the last stage is than the image.
        caffe: the ResNet of DeepLab v2 in the paper's code: strides in the first 1x1 convolution, a max-pool that
            rounds up, and the same dilation for all blocks of a stage. False: torchvision's.
        width: of the first stage; 64 is the published one.

    Raises:
        ValueError: an unknown number of layers or output stride.
    """

    def __init__(
        self, in_channels: int = 3, *, layers: int = 101, output_stride: int = 8, caffe: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        if layers not in BLOCKS or output_stride not in DILATIONS:
            raise ValueError(
                f"ResNet got layers={layers}, output_stride={output_stride}; "
                f"choose from {[*BLOCKS]} and {[*DILATIONS]}."
            )
        bottleneck = layers >= 50
        self.in_channels = in_channels
        self.channels = (width, *((4 if bottleneck else 1) * width * 2**stage for stage in range(4)))
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=caffe)
        before, reached = width, 1
        for stage, (count, (stride, dilation)) in enumerate(zip(BLOCKS[layers], DILATIONS[output_stride], strict=True)):
            blocks: list[nn.Module] = []
            for block in range(count):
                inner = width * 2**stage
                step = stride if block == 0 else 1
                spread = reached if block == 0 and not caffe else dilation
                if bottleneck:
                    blocks.append(Bottleneck(before, inner, stride=step, dilation=spread, stride_first=caffe))
                else:
                    blocks.append(PlainBlock(before, inner, stride=step, dilation=spread))
                before = self.channels[stage + 1]
            reached = dilation
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> features of the stem, at half of the size, and of the four stages, the first at a quarter."""
        stages = [F.relu(self.bn1(self.conv1(image)), inplace=True)]
        out = self.maxpool(stages[0])
        for stage in range(4):
            out = self.get_submodule(f"layer{stage + 1}")(out)
            stages.append(out)
        return stages


class WithEncoder(Network):
    """A network on an encoder: two groups of weights, and BatchNorm that may be frozen.

    Args:
        encoder: the part that may be pretrained.
        freeze_batchnorm: "none"; "backbone": the encoder's BatchNorm keeps its statistics, also in training mode;
            "all": all BatchNorm keeps its statistics, and its scales and offsets are not trained.
        wrap: must be False.

    Raises:
        ValueError: `wrap` is True, or `freeze_batchnorm` is unknown.
    """

    def __init__(self, encoder: Encoder, freeze_batchnorm: Freeze, wrap: bool) -> None:
        super().__init__()
        if wrap:
            raise ValueError(f"{type(self).__name__} pads with zeros and does not support wrap: true. Use fidnet.")
        if freeze_batchnorm not in ("none", "backbone", "all"):
            raise ValueError(f"freeze_batchnorm is {freeze_batchnorm!r}; choose none, backbone or all.")
        self.backbone = encoder
        self.freeze_batchnorm = freeze_batchnorm

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained weights, by `optim.lr_multipliers`' names: backbone (the encoder) and head (the rest)."""
        inside = {id(parameter) for parameter in self.backbone.parameters()}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return {
            "backbone": [parameter for parameter in trained if id(parameter) in inside],
            "head": [parameter for parameter in trained if id(parameter) not in inside],
        }

    def train(self, mode: bool = True) -> WithEncoder:
        """Set the mode of all modules except frozen BatchNorm."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    pools: ClassVar[bool] = False
    """Whether BatchNorm normalises means over a whole image."""

    @property
    def least_views(self) -> int:
        """Smallest number of views in a training batch; the mean over the image of a single view has no variance."""
        return 2 if self.pools and self.freeze_batchnorm != "all" else 1

    def freeze(self) -> None:
        """Freeze BatchNorm; the constructor of a subclass calls it last."""
        for module in self._frozen():
            module.eval()
            if self.freeze_batchnorm == "all":
                module.requires_grad_(False)

    def _frozen(self) -> Iterable[nn.Module]:
        owner = {"none": nn.Module(), "backbone": self.backbone, "all": self}[self.freeze_batchnorm]
        return [module for module in owner.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
