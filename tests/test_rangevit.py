"""RangeViT: laws of its parts against plain NumPy, of the whole, and of weights read from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_networks import settled
from torch import Tensor, nn

from rangeseg.config import Config
from rangeseg.engine.optimizer import parameter_groups
from rangeseg.engine.training import train
from rangeseg.networks import create_network
from rangeseg.networks.rangevit import Block, RangeViT, resize_positions

SMALL: dict[str, Any] = {"dim": 16, "depth": 3, "heads": 4, "stem": 4, "hidden": 8, "decoder": 6, "positions": (4, 3)}
C, K = 5, 7


def make(**more: Any) -> RangeViT:
    torch.manual_seed(0)
    return RangeViT(C, K, **(SMALL | more))


def draw(generator: torch.Generator, rows: int = 8, columns: int = 24, batch: int = 2) -> Tensor:
    return torch.randn(batch, C, rows, columns, generator=generator)


def test_the_default_is_vit_small_between_stem_and_decoder() -> None:
    network = create_network("rangevit", in_channels=5, num_classes=20)
    assert isinstance(network, RangeViT)
    blocks = sum(p.numel() for p in network.encoder.blocks.parameters())
    assert blocks == 12 * (4 * 384 * 384 + 4 * 384 + 8 * 384 * 384 + 5 * 384 + 4 * 384)
    tokens = sum(p.numel() for p in network.encoder.parameters()) - blocks
    assert tokens == 384 * (1 + 1 + 32 * 48) + 2 * 384
    assert sum(p.numel() for p in network.parameters()) == 22_808_020
    assert network.stride == (2, 8)


@pytest.mark.parametrize(
    ("patch", "rows", "columns"), [((2, 8), 8, 24), ((2, 8), 2, 8), ((4, 4), 12, 8), ((2, 2), 6, 4)]
)
def test_any_multiple_of_the_patch_gives_logits_of_the_image_size(
    patch: tuple[int, int], rows: int, columns: int, generator: torch.Generator
) -> None:
    network = make(patch=patch).eval()
    logits = network(draw(generator, rows, columns))
    assert logits.shape == (2, K, rows, columns)
    assert logits.isfinite().all()


def test_a_size_the_patch_does_not_divide_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"width 20 .*stride 8\. Use 16 or 24"):
        make()(draw(generator, 8, 20))


def test_every_parameter_gets_a_gradient(generator: torch.Generator) -> None:
    network = make(drop_path=0.0)
    network(draw(generator)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:
            assert parameter.grad.abs().max() > 0, name


def test_in_eval_mode_a_view_does_not_see_its_batch(generator: torch.Generator) -> None:
    network = settled(make(), generator).double()
    image = draw(generator, batch=3).double()
    torch.testing.assert_close(network(image)[1:2], network(image[1:2]), rtol=1e-10, atol=1e-10)


def test_every_pixel_sees_the_whole_image(generator: torch.Generator) -> None:
    network = settled(make(), generator).double()
    image = draw(generator, 8, 96, batch=1).double().requires_grad_()
    network(image)[..., 0, 0].sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().amax((0, 1, 2)) > 0).all()


def test_a_token_becomes_its_own_pixels(generator: torch.Generator) -> None:
    """The decoder's unfolding, by hand: pixel (2 i + a, 8 j + b) reads channels [c, a, b] of token (i, j)."""
    network = make().eval()
    patches = torch.randn(1, 6 * 16, 4, 3, generator=generator)
    full = torch.zeros(1, 8, 8, 24)
    network.stem, network.project, network.encoder = nn.Identity(), nn.Identity(), nn.Identity()
    network.expand = nn.Identity()
    network.in_channels, seen = 8, []
    network.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, :6]))
    network.encoder.register_forward_hook(lambda *_: patches)
    network(full)
    for c, row, column in np.ndindex(6, 8, 24):
        i, a, j, b = row // 2, row % 2, column // 8, column % 8
        assert seen[0][0, c, row, column] == patches[0, (c * 2 + a) * 8 + b, i, j]


def test_a_block_is_the_published_one(generator: torch.Generator) -> None:
    block = Block(12, 3, 0.0).double().eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    tokens = torch.randn(1, 5, 12, generator=generator, dtype=torch.float64)
    p = {name: value.detach().numpy() for name, value in block.named_parameters()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    x = tokens[0].numpy()
    query, key, value = np.split(linear(norm(x, "norm1"), "attn.qkv"), 3, axis=1)
    read = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        scores = np.exp(query[:, part] @ key[:, part].T / 2)
        read.append(scores / scores.sum(1, keepdims=True) @ value[:, part])
    x = x + linear(np.concatenate(read, axis=1), "attn.proj")
    hidden = linear(norm(x, "norm2"), "mlp.fc1")
    gauss = 0.5 * (1 + torch.erf(torch.tensor(hidden / np.sqrt(2))).numpy())
    x = x + linear(hidden * gauss, "mlp.fc2")
    np.testing.assert_allclose(block(tokens)[0].detach().numpy(), x, rtol=1e-9, atol=1e-9)


def test_training_views_skip_paths_and_evaluation_does_not(generator: torch.Generator) -> None:
    block = Block(12, 3, 0.5)
    tokens = torch.randn(64, 5, 12, generator=generator)
    torch.manual_seed(0)
    first, second = block(tokens), block(tokens)
    assert not torch.equal(first, second)
    skipped = (first == tokens).flatten(1).all(1).float().mean()
    assert 0.1 < skipped < 0.4  # both paths: a quarter
    block.eval()
    assert torch.equal(block(tokens), block(tokens))


def test_positions_are_interpolated_between_patches() -> None:
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
    plane = torch.tensor(np.stack([rows, columns, rows + 2 * columns], axis=-1)).view(1, 24, 3)
    assert resize_positions(plane, (4, 6), (4, 6)) is plane
    larger = resize_positions(plane, (4, 6), (8, 12)).view(8, 12, 3).numpy()
    centre = (np.arange(12) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(larger[:, :, 1], np.tile(centre.clip(0, 5), (8, 1)), atol=1e-12)
    np.testing.assert_allclose(larger[..., 2], larger[..., 0] + 2 * larger[..., 1], atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"wrap": True}, "Set wrap: false"),
        ({"heads": 3}, "dim must be a multiple of heads"),
        ({"patch": (1, 8)}, "two even numbers"),
        ({"patch": (2,)}, "two even numbers"),
        ({"positions": (0, 4)}, "rows and columns of a grid"),
        ({"drop_path": 1.0}, "a probability in"),
    ],
)
def test_what_cannot_be_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**bad)


# ------------------------------------------------------------------------------------------------ weights from files


def published(side: int = 6, depth: int = 3) -> dict[str, Tensor]:
    """What a vision transformer on square images is published as, in timm's layout."""
    network = make(positions=(side, side), depth=depth)
    generator = torch.Generator().manual_seed(5)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in network.encoder.state_dict().items()}
    return state | {
        "patch_embed.proj.weight": torch.zeros(16, 3, 16, 16),
        "patch_embed.proj.bias": torch.zeros(16),
        "head.weight": torch.zeros(10, 16),
        "head.bias": torch.zeros(10),
    }


def write(path: Path, state: Mapping[str, Any]) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("form", ["bare", "model", "state_dict", "segmenter"])
def test_published_weights_are_read_and_positions_resized(form: str, tmp_path: Path) -> None:
    state = published()
    content: Mapping[str, Any] = state
    if form == "segmenter":
        content = {"model": {f"encoder.{n}": v for n, v in state.items()} | {"decoder.head.weight": torch.zeros(2)}}
    elif form != "bare":
        content = {form: state, "epoch": 3}
    network = make(weights=write(tmp_path / "vit.pth", content))
    for name, value in network.encoder.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, state[name]), name
    moved = network.encoder.pos_embed.detach()
    assert torch.equal(moved[:, :1], state["pos_embed"][:, :1])
    torch.testing.assert_close(moved[:, 1:], resize_positions(state["pos_embed"][:, 1:], (6, 6), (4, 3)))
    other = make()
    assert all(torch.equal(a, b) for a, b in zip(network.stem.parameters(), other.stem.parameters(), strict=True))


def test_positions_of_the_same_grid_are_taken_as_they_are(tmp_path: Path) -> None:
    state = make().encoder.state_dict()
    network = make(weights=write(tmp_path / "own.pth", {name: value + 1 for name, value in state.items()}))
    assert torch.equal(network.encoder.pos_embed, state["pos_embed"] + 1)


def test_as_many_positions_may_be_on_another_grid(tmp_path: Path) -> None:
    state = published()
    square = write(tmp_path / "vit.pth", state)
    moved = make(weights=square, positions=(4, 9)).encoder.pos_embed.detach()
    torch.testing.assert_close(moved[:, 1:], resize_positions(state["pos_embed"][:, 1:], (6, 6), (4, 9)))
    assert torch.equal(make(weights=square, positions=(6, 6)).encoder.pos_embed, state["pos_embed"])
    own = write(tmp_path / "own.pth", {"model": {f"encoder.{name}": one for name, one in state.items()}})
    assert torch.equal(make(weights=own, positions=(4, 9)).encoder.pos_embed, state["pos_embed"])


def test_files_that_do_not_fit_say_what_does_not(tmp_path: Path) -> None:
    path = tmp_path / "vit.pth"

    def refused(content: Any, message: str) -> None:
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"weights: .*vit\.pth" + message):
            make(weights=str(path))

    state = published()
    refused(
        {n: v for n, v in state.items() if n != "norm.weight"}, r".*norm\.weight is missing \(1 in all\)\. Give its dim"
    )
    refused(published(depth=4), r".*blocks\.3\..* is unknown \(12 in all\)")
    refused(state | {"cls_token": torch.zeros(1, 1, 32)}, r".*cls_token has shape \(1, 1, 32\), not \(1, 1, 16\)")
    refused(
        state | {"pos_embed": torch.zeros(1, 9, 16)}, " has 8 positions, which are neither a square grid nor .* 4 x 3"
    )
    refused(state | {"pos_embed": torch.zeros(9)}, r".*pos_embed has shape \(9,\)")
    refused({"a": 1}, ": The file holds no named tensors")
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint of torch"):
        make(weights=str(path))
    with pytest.raises(ValueError, match="is not a file"):
        make(weights=str(tmp_path / "absent.pth"))


def test_the_transformer_is_a_part_of_its_own_for_the_optimiser() -> None:
    network = make()
    groups = parameter_groups(network, 0.01, {"backbone": 0.1})
    backbone = [p for group in groups if group["multiplier"] == 0.1 for p in group["params"]]
    assert {id(p) for p in backbone} == {id(p) for p in network.encoder.parameters()}


def test_it_trains_by_a_config(tiny_config: Config) -> None:
    tiny_config.network = {"name": "rangevit", "wrap": False} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()
    }
    tiny_config.optim.steps = 2
    result = train(tiny_config)
    assert result is not None
    assert np.isfinite(result["mean_iou"])
