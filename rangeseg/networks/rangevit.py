"""RangeViT: a convolutional stem that makes tokens of a range image, a vision transformer, and one upsampling step.

Shapes: B views, C channels, H rows (beams), W columns (azimuth), K classes; N tokens of D channels, 2 x 8 pixels each.

    full = stem(image)                                   (B, stem, H, W)
    tokens = project(average(full)) + positions          (B, 1 + H/2 * W/8, D), the class token first
    tokens = norm(blocks(tokens))
    logits = classify(convolve([unfold(tokens), full]))

Position embeddings are learnt on a grid of `positions` patches and interpolated to the grid of the image. Attention is
over all tokens: at 64 x 2048 there are 8,192, at the published crops of 64 x 384 there are 1,536.

Source: Ando et al., RangeViT: Towards Vision Transformers for 3D Semantic Segmentation in Autonomous Driving, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rangeseg.networks.base import Network
from rangeseg.networks.layers import check_input
from rangeseg.networks.pretrained import load_vit
from rangeseg.networks.salsanext_blocks import Context, ConvActNorm, Residual


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: D.
        heads: number of heads; D must be divisible by it.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(query, key, value)
        return self.proj(read.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then an MLP of four times the width, each added to its input; parameters have timm's names.

    Args:
        dim: D.
        heads: number of heads of the attention.
        drop: probability that a view in training skips the attention; the same, drawn again, for the MLP.

    Source: Dosovitskiy et al., ICLR 2021, figure 1; Huang et al., Deep Networks with Stochastic Depth, 2016.
    """

    def __init__(self, dim: int, heads: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        tokens = tokens + self._kept(self.attn(self.norm1(tokens)))
        return tokens + self._kept(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens)))))

    def _kept(self, path: Tensor) -> Tensor:
        if not (self.training and self.drop):
            return path
        kept = torch.rand(len(path), 1, 1, device=path.device) >= self.drop
        return path * kept / (1 - self.drop)


class VisionTransformer(nn.Module):
    """A vision transformer on a grid of tokens, with timm's parameter names, so that published weights fit.

    Args:
        dim: D.
        depth: number of blocks.
        heads: number of heads of each block's attention.
        positions: rows and columns of the grid on which positions are learnt.
        drop_path: `drop` of the last block; it increases linearly from 0 in the first block.
    """

    def __init__(self, dim: int, depth: int, heads: int, positions: Sequence[int], drop_path: float) -> None:
        super().__init__()
        self.grid = (positions[0], positions[1])
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim))
        shares = [drop_path * number / max(1, depth - 1) for number in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, heads, share) for share in shares)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for token in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(token, std=0.02)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, D, h, w) patches -> (B, D, h, w), each the output of a patch after attention to all patches."""
        size = (patches.shape[-2], patches.shape[-1])
        tokens = patches.flatten(2).transpose(1, 2) + resize_positions(self.pos_embed[:, 1:], self.grid, size)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(patches.shape[0], -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, size)


def resize_positions(positions: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Interpolate position embeddings from one grid to another.

    Args:
        positions: (1, h * w, D).
        grid: h, w.
        size: h', w'.

    Returns:
        (1, h' * w', D).
    """
    if grid == size:
        return positions
    image = positions.transpose(1, 2).unflatten(2, grid)
    return F.interpolate(image, size, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


class RangeViT(Network):
    """RangeViT on ViT-S without its point refiner (KPConv). The defaults give the published network.

    Args:
        in_channels: C.
        num_classes: K.
        dim: D of the tokens; 384 is ViT-S, 768 ViT-B.
        depth: number of blocks of the transformer.
        heads: number of heads of its attention; 6 in ViT-S, 12 in ViT-B.
        stem: channels of the stem's first three blocks.
        hidden: channels of the stem's last block, which the decoder also reads; 256 in the paper's test runs.
        decoder: channels of the decoder.
        patch: rows and columns of the pixels of one token, even.
        positions: rows and columns of the grid on which positions are learnt; the published one is for 64 x 384 pixels.
        drop_path: see `VisionTransformer`.
        weights: "none", or a file with a vision transformer's weights in timm's layout (its positions are resized, its
            patch embedding and classifier are not loaded), as published from ImageNet-21k, DINO or Cityscapes.
        wrap: must be False, because each column has its own position.

    Raises:
        ValueError: `wrap` is True, sizes that do not fit each other, or a file that does not fit; on forward, an image
            that does not have C channels, or H or W that is not divisible by `stride`.

    Source: Ando et al., section 3. The transformer has 21.3 M parameters.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        stem: int = 32,
        hidden: int = 128,
        decoder: int = 64,
        patch: Sequence[int] = (2, 8),
        positions: Sequence[int] = (32, 48),
        drop_path: float = 0.1,
        weights: str = "none",
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if wrap:
            raise ValueError(
                "RangeViT learns a position for each column, but a cylinder has no first column. Set wrap: false."
            )
        if heads < 1 or dim % heads:
            raise ValueError(
                f"RangeViT got dim={dim} and heads={heads}; dim must be a multiple of heads, usually 64 per head."
            )
        if len(patch) != 2 or min(patch) < 2 or any(side % 2 for side in patch):
            raise ValueError(f"RangeViT got patch={tuple(patch)}; give two even numbers of pixels (published: (2, 8)).")
        if len(positions) != 2 or min(positions) < 1:
            raise ValueError(f"RangeViT got positions={tuple(positions)}; give rows and columns of a grid of patches.")
        if not 0 <= drop_path < 1:
            raise ValueError(f"RangeViT got drop_path={drop_path}; give a probability in [0, 1).")
        self.in_channels = in_channels
        self.stride = (patch[0], patch[1])
        self.stem = nn.Sequential(
            Context(in_channels, stem), Context(stem, stem), Context(stem, stem), Residual(stem, hidden)
        )
        self.project = nn.Conv2d(hidden, dim, 1)
        self.encoder = VisionTransformer(dim, depth, heads, positions, drop_path)
        self.expand = nn.Conv2d(dim, decoder * patch[0] * patch[1], 1)
        self.decoder = nn.Sequential(ConvActNorm(decoder + hidden, decoder, 3), ConvActNorm(decoder, decoder, 1))
        self.classify = nn.Conv2d(decoder, num_classes, 1)
        if weights != "none":
            load_vit(self.encoder, Path(weights), resize_positions)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained weights, by `optim.lr_multipliers`' names: backbone (the transformer) and head (the rest)."""
        inside = {id(parameter) for parameter in self.encoder.parameters()}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return {
            "backbone": [parameter for parameter in trained if id(parameter) in inside],
            "head": [parameter for parameter in trained if id(parameter) not in inside],
        }

    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.classify

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        check_input(image, self.in_channels, self.stride)
        full = self.stem(image)
        rows, columns = self.stride
        kernel, padding = (rows + 1, columns + 1), (rows // 2, columns // 2)
        patches = self.encoder(self.project(F.avg_pool2d(full, kernel, self.stride, padding)))
        # (B, C * rows * columns, h, w) -> (B, C, h * rows, w * columns)
        parts = self.expand(patches).unflatten(1, (-1, rows, columns)).permute(0, 1, 4, 2, 5, 3)
        enlarged = parts.flatten(4, 5).flatten(2, 3)
        return self.classify(self.decoder(torch.cat([enlarged, full], dim=1)))
