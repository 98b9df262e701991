"""Laws of bands, sectors, grids, blobs and classes, and each of them written again in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from rangeseg.masks import beam_mask, class_mask, cow_mask, grid_mask, sector_mask
from rangeseg.noise import normal

Sampler = Callable[..., Tensor]
SAMPLERS: list[Sampler] = [beam_mask, sector_mask, grid_mask, cow_mask]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def odd_strips(count: int, length: int) -> np.ndarray:
    """Strip after strip between linspace's edges, rounded down."""
    edges = np.linspace(0, length, count + 1).astype(int)
    odd = np.zeros(length, bool)
    for i in range(1, count, 2):
        odd[edges[i] : edges[i + 1]] = True
    return odd


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEveryMask:
    @pytest.mark.parametrize("shape", [(1, 1, 1), (3, 16, 40), (2, 7, 5)])
    def test_shape_and_type(self, sampler: Sampler, shape: tuple[int, int, int]) -> None:
        mask = sampler(seeded(), *shape)
        assert mask.shape == shape
        assert mask.dtype == torch.bool

    def test_same_generator_state_gives_the_same_mask_and_the_next_draw_another(self, sampler: Sampler) -> None:
        rng = seeded(3)
        state = rng.get_state()
        first, second = sampler(rng, 8, 32, 64), sampler(rng, 8, 32, 64)
        rng.set_state(state)
        assert torch.equal(first, sampler(rng, 8, 32, 64))
        assert not torch.equal(first, second)

    def test_views_of_a_batch_differ(self, sampler: Sampler) -> None:
        mask = sampler(seeded(1), 8, 32, 64)
        assert any(not torch.equal(mask[0], other) for other in mask[1:])

    def test_draws_do_not_depend_on_the_size_of_the_image(self, sampler: Sampler) -> None:
        small, large = seeded(), seeded()
        sampler(small, 3, 8, 8)
        sampler(large, 3, 64, 256)
        assert torch.equal(small.get_state(), large.get_state())

    def test_masks_may_be_written_to(self, sampler: Sampler) -> None:
        mask = sampler(seeded(), 2, 8, 8)
        mask[0, 0, 0] ^= True
        assert mask[0, 0, 0] != sampler(seeded(), 2, 8, 8)[0, 0, 0]
        assert torch.equal(mask.flatten()[1:], sampler(seeded(), 2, 8, 8).flatten()[1:])


@pytest.mark.parametrize(("height", "count"), [(64, 5), (64, 3), (32, 6), (7, 4), (3, 5)])
def test_bands_are_those_between_linspaces_edges(height: int, count: int) -> None:
    mask = beam_mask(seeded(), 2, height, 9, bands=(count,))
    np.testing.assert_array_equal(mask, np.broadcast_to(odd_strips(count, height)[:, None], (2, height, 9)))


def test_every_number_of_bands_is_drawn_alike() -> None:
    heights = {tuple(odd_strips(n, 60)): n for n in (3, 4, 5, 6)}
    drawn = [heights[tuple(view)] for view in beam_mask(seeded(), 4000, 60, 1)[:, :, 0].numpy()]
    for n in (3, 4, 5, 6):
        assert drawn.count(n) == pytest.approx(1000, abs=100)


def test_mean_area_of_bands() -> None:
    mask = beam_mask(seeded(), 4000, 64, 2)
    assert mask.float().mean().item() == pytest.approx(
        np.mean([odd_strips(n, 64).mean() for n in (3, 4, 5, 6)]), abs=0.005
    )


@pytest.mark.parametrize("wrap", [True, False])
def test_mean_area_of_a_grid(wrap: bool) -> None:
    bands, sectors = (3, 5), (1, 3, 4)
    mask = grid_mask(seeded(), 4000, 20, 24, bands=bands, sectors=sectors, wrap=wrap)
    odd_rows = np.mean([odd_strips(n, 20).mean() for n in bands])
    odd_columns = np.mean([odd_strips(m, 24).mean() for m in sectors])
    expected = odd_rows * (1 - odd_columns) + odd_columns * (1 - odd_rows)
    assert mask.float().mean().item() == pytest.approx(expected, abs=0.005)


def test_a_grid_alternates_along_rows_and_columns() -> None:
    mask = grid_mask(seeded(), 1, 64, 60, bands=(4,), sectors=(6,))[0].numpy()
    np.testing.assert_array_equal(mask, odd_strips(4, 64)[:, None] ^ odd_strips(6, 60)[None])


def test_a_grid_of_one_sector_is_bands() -> None:
    mask = grid_mask(seeded(), 3, 64, 20, bands=(5,), sectors=(1,), wrap=True)
    assert torch.equal(mask, beam_mask(seeded(), 3, 64, 20, bands=(5,)))


def test_an_even_grid_alternates_across_the_seam_too() -> None:
    mask = grid_mask(seeded(), 200, 16, 48, sectors=(2, 4, 6), wrap=True)
    steps = (mask ^ mask.roll(1, 2)).sum(2)
    assert set(steps.unique().tolist()) == {2, 4, 6}
    crossing = mask[:, 0, 0] == mask[:, 0, -1]
    assert crossing.float().mean() > 0.7  # seldom does a sector begin at column 0


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_a_sector_is_one_run_of_whole_columns_of_the_wanted_width(fraction: float, wrap: bool) -> None:
    mask = sector_mask(seeded(), 500, 3, 40, fraction=fraction, wrap=wrap)
    columns = mask.all(1)
    assert torch.equal(columns, mask.any(1))
    assert (columns.sum(1) == round(fraction * 40)).all()
    if 0 < fraction < 1:
        starts = columns & ~columns.roll(1, 1)
        assert (starts.sum(1) == 1).all()
        crosses = columns[:, 0] & columns[:, -1]
        assert crosses.any() == wrap


def test_wrapped_sectors_cover_all_columns_alike() -> None:
    share = sector_mask(seeded(), 20000, 1, 32).float().mean((0, 1))
    assert (share - 0.5).abs().max() < 0.015


def test_the_complement_of_a_sector_is_a_sector() -> None:
    rest = ~sector_mask(seeded(), 100, 1, 30, fraction=0.2)[:, 0]
    assert ((rest & ~rest.roll(1, 1)).sum(1) == 1).all()
    assert (rest.sum(1) == 24).all()


def blur(field: np.ndarray, sigma: float, wrap: bool) -> np.ndarray:
    """Sums over pixels of the image repeated without end: mirrored at its borders, or on round the cylinder."""

    def matrix(length: int, wrap: bool) -> np.ndarray:
        offsets = np.arange(-12 * length, 13 * length)
        inside = offsets % length
        source = inside if wrap else np.where((offsets // length) % 2 == 0, inside, length - 1 - inside)
        weights = np.zeros((length, length))
        for i in range(length):
            np.add.at(weights[i], source, np.exp(-((offsets - i) ** 2) / (2 * sigma**2)))
        return weights / weights.sum(1, keepdims=True)

    return matrix(field.shape[0], False) @ field @ matrix(field.shape[1], wrap).T


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("sigma", [1.5, 4.0, 9.0])
def test_blobs_are_where_blurred_noise_is_lowest(sigma: float, wrap: bool) -> None:
    batch, height, width, area = 3, 12, 30, 0.4
    mask = cow_mask(seeded(2), batch, height, width, area=area, sigma=sigma, wrap=wrap)
    rng = seeded(2)
    torch.rand(2, batch, generator=rng, dtype=torch.float64)
    noise = normal(rng, (batch, height, width)).double().numpy()
    for view, field in zip(mask.numpy(), noise, strict=True):
        blurred = blur(field, sigma, wrap)
        lowest = blurred <= np.sort(blurred.ravel())[round(area * height * width) - 1]
        assert (view != lowest).sum() <= 2  # float32 may exchange two pixels at the threshold


@pytest.mark.parametrize("area", [0.0, 0.01, 0.37, 1.0])
def test_the_area_of_blobs_is_exact(area: float) -> None:
    mask = cow_mask(seeded(), 20, 32, 50, area=area)
    assert ((mask.sum((1, 2)) - round(area * 1600)).abs() <= 1).all()


@pytest.mark.parametrize(("area", "mean"), [((0.2, 0.8), 0.5), ((0.25, 1.0), 0.625)])
def test_mean_area_of_blobs(area: tuple[float, float], mean: float) -> None:
    mask = cow_mask(seeded(), 20000, 8, 16, area=area, sigma=2.0)
    assert mask.float().mean().item() == pytest.approx(mean, abs=0.005)


def test_blobs_cover_every_pixel_alike() -> None:
    share = cow_mask(seeded(), 6000, 8, 16, sigma=2.0).float().mean(0)
    assert (share - 0.5).abs().max() < 0.03


def test_blobs_go_on_across_the_seam_of_a_cylinder_alone() -> None:
    def like_its_left_neighbour(wrap: bool) -> Tensor:
        mask = cow_mask(seeded(), 400, 8, 64, sigma=4.0, wrap=wrap)
        return (mask == mask.roll(1, 2)).float().mean((0, 1))

    cylinder, plane = like_its_left_neighbour(True), like_its_left_neighbour(False)
    assert cylinder[0] == pytest.approx(cylinder[1:].mean().item(), abs=0.02)
    assert plane[0] < 0.6
    assert plane[1:].mean() > 0.85


def test_a_wider_blur_makes_larger_blobs() -> None:
    def borders(sigma: float) -> float:
        mask = cow_mask(seeded(), 50, 32, 64, sigma=sigma)
        return (mask[..., 1:] ^ mask[..., :-1]).float().mean().item()

    assert borders(2.0) > 1.5 * borders(4.0) > 2 * borders(8.0)


class TestClassMask:
    def views(self) -> tuple[Tensor, Tensor]:
        rng = seeded(11)
        prediction = torch.randint(7, (50, 6, 8), generator=rng)
        prediction = prediction.where(prediction < torch.randint(1, 8, (50, 1, 1), generator=rng), 0)
        return prediction, torch.rand(50, 6, 8, generator=rng) < 0.3

    def test_half_of_the_classes_present_rounded_up_and_all_of_their_valid_pixels(self) -> None:
        prediction, valid = self.views()
        mask = class_mask(seeded(), prediction, valid, 9)
        for view, label, there in zip(mask.numpy(), prediction.numpy(), valid.numpy(), strict=True):
            present, chosen = set(label[there]), set(label[view])
            assert len(chosen) == (len(present) + 1) // 2
            np.testing.assert_array_equal(view, np.isin(label, list(chosen)) & there)

    def test_every_class_is_drawn_alike(self) -> None:
        prediction = torch.arange(4).expand(8000, 1, 4)
        share = class_mask(seeded(), prediction, torch.ones_like(prediction, dtype=torch.bool), 6).float().mean((0, 1))
        assert (share - 0.5).abs().max() < 0.02

    def test_nothing_is_taken_from_an_empty_view(self) -> None:
        prediction, valid = self.views()
        assert not class_mask(seeded(), prediction, torch.zeros_like(valid), 9).any()

    def test_the_same_state_gives_the_same_mask(self) -> None:
        prediction, valid = self.views()
        assert torch.equal(class_mask(seeded(), prediction, valid, 9), class_mask(seeded(), prediction, valid, 9))


@pytest.mark.parametrize(
    ("sampler", "bad"),
    [
        (beam_mask, {"bands": ()}),
        (beam_mask, {"bands": (3, 0)}),
        (grid_mask, {"bands": ()}),
        (grid_mask, {"sectors": (-1,)}),
        (sector_mask, {"fraction": 1.5}),
        (sector_mask, {"fraction": float("nan")}),
        (cow_mask, {"area": 2.0}),
        (cow_mask, {"area": (0.5, 0.1)}),
        (cow_mask, {"sigma": 0.0}),
        (cow_mask, {"sigma": (4.0, 2.0)}),
    ],
)
def test_bad_settings_say_what_to_do(sampler: Sampler, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got \w+=.*; give"):
        sampler(seeded(), 2, 8, 8, **bad)
