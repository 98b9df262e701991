"""Views of photographs: where every pixel comes from, what is padding, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pytest
import torch

from rangeseg.data.loading import Stream
from rangeseg.evaluation.backprojection import NearestPixel
from rangeseg.evaluation.evaluate import evaluate
from rangeseg.labels import LabelMap
from rangeseg.photos.augment import HUNG_SCALES, PhotoAugmentation
from rangeseg.photos.cache import PhotoCache
from rangeseg.photos.padded_image import PaddedImage, PhotoPadding
from rangeseg.photos.views import IMAGENET_MEAN, IMAGENET_STD, PhotoViews
from rangeseg.photos.window import COLORS, Window
from rangeseg.resources import resource
from rangeseg.types import IGNORE, Photo, View

K = 11
PLAIN = {"scales": (1.0,), "flip_x": 0.0}
EVERYTHING = PhotoAugmentation(
    (24, 24), per_axis=True, flip_y=0.5, transpose=0.5, rotate_deg=45.0, stretch=1.3, reflect=True
)
AUGMENTATIONS = [
    PhotoAugmentation((16, 20), **PLAIN),
    PhotoAugmentation((40, 50), **PLAIN),
    PhotoAugmentation((16, 20)),
    PhotoAugmentation((64, 20), flip_y=0.5),
    replace(EVERYTHING, reflect=False),
    EVERYTHING,
]


def blocks(rng: np.random.Generator, height: int, width: int, side: int = 6) -> Photo:
    """A photograph whose colour tells its label: red is 20 times the class, blue the same in reverse."""
    coarse = rng.integers(0, K, (-(-height // side), -(-width // side)))
    label = coarse.repeat(side, axis=0).repeat(side, axis=1)[:height, :width].astype(np.uint8)
    image = np.stack([20 * label, np.full_like(label, 99), 20 * (10 - label)], axis=2).astype(np.uint8)
    return Photo(image, label)


@dataclass(frozen=True)
class Photos:
    """A source that holds its photographs."""

    photos: list[Photo]
    label_map: LabelMap = field(default_factory=lambda: LabelMap.read(resource("datasets", "camvid", "labels.yaml")))

    def __len__(self) -> int:
        return len(self.photos)

    def name(self, index: int) -> str:
        return f"photo {index}"

    def photo(self, index: int) -> Photo:
        return self.photos[index]


@pytest.fixture
def source(rng: np.random.Generator) -> Photos:
    return Photos([blocks(rng, 30, 41), blocks(rng, 17, 50), blocks(rng, 25, 9)])


def colours(view: View) -> np.ndarray:
    """(H, W, 3) the view's image in 0..255, before it was normalised."""
    return (view.image.numpy().transpose(1, 2, 0).astype(np.float64) * IMAGENET_STD + IMAGENET_MEAN) * 255


def same(a: View, b: View) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("image", "valid", "label"))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_label_and_image_stay_together_and_padding_is_nothing(
    augmentation: PhotoAugmentation, rng: np.random.Generator
) -> None:
    source = Photos([blocks(rng, *size, side=16) for size in ((30, 41), (17, 50), (60, 70))])
    views = PhotoViews(source, augmentation=augmentation)
    agreed = counted = 0
    for seed in range(40):
        view = views.view(seed % 3, np.random.default_rng(seed))
        assert view.image.shape == (3, *augmentation.crop)
        outside = ~view.valid.numpy()
        assert (view.label.numpy()[outside] == IGNORE).all()
        assert (view.label.numpy()[~outside] < K).all()
        if not augmentation.reflect:
            assert not view.image.numpy()[:, outside].any()
        seen = colours(view)[~outside]
        label = view.label.numpy()[~outside]
        agreed += int((np.abs(seen[:, 0] - 20 * label) < 10).sum())
        counted += len(label)
        np.testing.assert_allclose(seen[:, 1], 99, atol=1e-3)
    assert counted
    if augmentation.scales == (1.0,):
        assert agreed == counted
    else:  # pixels at the edges of the blocks mix two colours
        assert agreed > 0.9 * counted


def test_at_scale_one_every_pixel_is_one_of_the_photo_or_padding(rng: np.random.Generator) -> None:
    """Crop, centred padding and mirror against a plain NumPy oracle that is given the place."""
    photo = Photo(rng.integers(0, 256, (31, 18, 3), np.uint8), rng.integers(0, K, (31, 18)).astype(np.uint8))
    views = PhotoViews(Photos([photo]), augmentation=PhotoAugmentation((20, 25), scales=(1.0,), flip_y=0.5))
    places, mirrored = set(), set()
    pad = np.zeros((31, 25, 4))
    pad[:, 3:21, :3], pad[:, 3:21, 3] = photo.image, 1  # 7 columns are missing: 3 on the left, 4 on the right
    for seed in range(200):
        view = views.view(0, np.random.default_rng(seed))
        seen = colours(view) * view.valid.numpy()[..., None]
        found = [
            (top, flips)
            for top in range(12)
            for flips in ((1, 1), (1, -1), (-1, 1), (-1, -1))
            if np.allclose(seen, pad[top : top + 20, :, :3][:: flips[0], :: flips[1]], atol=1e-3)
            and (view.valid.numpy() == pad[top : top + 20, :, 3][:: flips[0], :: flips[1]]).all()
        ]
        assert len(found) == 1
        places.add(found[0][0])
        mirrored.add(found[0][1])
    assert places == set(range(12))
    assert len(mirrored) == 4


def test_scale_one_without_mirror_of_the_whole_is_the_photo(source: Photos) -> None:
    photo = source.photo(0)
    views = PhotoViews(source, augmentation=PhotoAugmentation((30, 41), **PLAIN))
    view = views.view(0, np.random.default_rng(0))
    np.testing.assert_allclose(colours(view), photo.image, atol=1e-3)
    np.testing.assert_array_equal(view.label.numpy(), photo.label)
    assert view.valid.all()
    assert same(view, PhotoViews(source).view(0, np.random.default_rng(1)))


@pytest.mark.parametrize("kind", ["flip_x", "flip_y", "transpose"])
def test_mirrorings_are_involutions(kind: str, rng: np.random.Generator) -> None:
    photo = blocks(rng, 24, 24)
    off = {"flip_x": 0.0, "flip_y": 0.0, "transpose": 0.0}
    augmentation = PhotoAugmentation((24, 24), scales=(1.0,), **(off | {kind: 1.0}))
    window = augmentation.draw(24, 24, np.random.default_rng(0))
    once = window.view(photo, ("red", "green", "blue"), (0, 0, 0), (1, 1, 1))
    turned = Photo(np.rint(once.image.numpy().transpose(1, 2, 0) * 255).astype(np.uint8), once.label.numpy())
    axes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "flip_x": lambda x: x[:, ::-1],
        "flip_y": lambda x: x[::-1],
        "transpose": lambda x: x.swapaxes(0, 1),
    }
    np.testing.assert_array_equal(turned.image, axes[kind](photo.image))
    twice = window.view(turned, ("red", "green", "blue"), (0, 0, 0), (1, 1, 1))
    np.testing.assert_array_equal(np.rint(twice.image.numpy().transpose(1, 2, 0) * 255), photo.image)
    np.testing.assert_array_equal(twice.label, photo.label)


@pytest.mark.parametrize("factor", HUNG_SCALES)
def test_a_scaled_crop_is_a_resized_cut(factor: float, rng: np.random.Generator) -> None:
    """Against bilinear interpolation written out in float64, and the nearest pixel of the label."""
    photo = Photo(rng.integers(0, 256, (60, 70, 3), np.uint8), rng.integers(0, K, (60, 70)).astype(np.uint8))
    augmentation = PhotoAugmentation((20, 30), scales=(factor,), flip_x=0.0)
    view = PhotoViews(Photos([photo]), augmentation=augmentation).view(0, np.random.default_rng(3))
    cut = [round(20 / factor), round(30 / factor)]
    place = np.random.default_rng(3).random((5, 2))[1]
    top, left = (round(extra * u) for extra, u in zip((60 - cut[0], 70 - cut[1]), place, strict=True))
    rows, cols = ((np.arange(n) + 0.5) * size / n for n, size in zip((20, 30), cut, strict=True))
    np.testing.assert_array_equal(view.label, photo.label[top + rows.astype(int)][:, left + cols.astype(int)])
    seen = photo.image.astype(np.float64)
    for axis, at in enumerate((top + rows - 0.5, left + cols - 0.5)):
        low, last = np.floor(at).astype(int), seen.shape[axis] - 1
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        seen = seen.take(low.clip(0), axis) * (1 - share) + seen.take((low + 1).clip(0, last), axis) * share
    np.testing.assert_allclose(colours(view), seen, atol=2e-3)


def test_outside_the_mirror_image_goes_on_without_repeating_the_border(rng: np.random.Generator) -> None:
    photo = Photo(rng.integers(0, 256, (5, 4, 3), np.uint8), np.zeros((5, 4), np.uint8))
    window = Window(11, 14, np.array([[1, 0, -3], [0, 1, -5]]), reflect=True)
    view = window.view(photo, ("red", "green", "blue"), (0, 0, 0), (1, 1, 1))
    expected = np.pad(photo.image, ((3, 3), (5, 5), (0, 0)), mode="reflect")
    np.testing.assert_allclose(view.image.numpy().transpose(1, 2, 0) * 255, expected, atol=1e-3)
    inside = np.zeros((11, 14), bool)
    inside[3:8, 5:9] = True
    np.testing.assert_array_equal(view.valid, inside)
    np.testing.assert_array_equal(view.label, np.where(inside, 0, IGNORE))


def test_a_turn_keeps_distances_to_the_middle_of_the_crop(rng: np.random.Generator) -> None:
    augmentation = PhotoAugmentation((20, 20), scales=(1.0,), flip_x=0.0, rotate_deg=45.0)
    angles = []
    for seed in range(200):
        window = augmentation.draw(60, 50, np.random.default_rng(seed))
        linear, plain = window.matrix[:, :2], replace(augmentation, rotate_deg=0.0)
        np.testing.assert_allclose(linear.T @ linear, np.eye(2), atol=1e-12)
        still = plain.draw(60, 50, np.random.default_rng(seed)).matrix
        np.testing.assert_allclose(window.matrix @ (10, 10, 1), still @ (10, 10, 1))
        angles.append(np.rad2deg(np.arctan2(linear[1, 0], linear[0, 0])))
    assert -45 <= min(angles) < -35
    assert 35 < max(angles) <= 45


def test_stretches_are_log_uniform_and_of_both_axes_alike_unless_asked() -> None:
    def factors(augmentation: PhotoAugmentation) -> np.ndarray:
        draws = [augmentation.draw(40, 40, np.random.default_rng(seed)).matrix for seed in range(300)]
        return np.log([np.diag(matrix) for matrix in draws])

    alike = factors(PhotoAugmentation((20, 20), scales=(1.0,), flip_x=0.0, stretch=1.1))
    np.testing.assert_allclose(alike[:, 0], alike[:, 1])
    assert np.abs(alike).max() <= np.log(1.1)
    assert np.std(alike) == pytest.approx(np.log(1.1) / np.sqrt(3), rel=0.1)
    each = factors(PhotoAugmentation((20, 20), scales=(1.0,), flip_x=0.0, stretch=1.1, per_axis=True))
    assert abs(np.corrcoef(each.T)[0, 1]) < 0.2


def test_a_crop_moves_as_far_as_its_stretch_leaves_room() -> None:
    """ISIC's: 224 of 248 pixels show 204 to 246 of the photograph, whose centre may lie 1 to 22 pixels off its own."""
    augmentation = PhotoAugmentation((224, 224), scales=(1.0,), flip_x=0.0, stretch=1.1, rotate_deg=45.0)
    farthest: list[tuple[float, float]] = []
    for seed in range(2000):
        matrix = augmentation.draw(248, 248, np.random.default_rng(seed)).matrix
        room = (248 - 224 * np.sqrt(np.linalg.det(matrix[:, :2]))) / 2
        moved = np.abs(matrix @ (112, 112, 1) - 124).max()
        assert moved <= room + 1e-9
        farthest.append((room, moved))
    rooms, moved = np.array(farthest).T
    for least, most in ((0.8, 6), (6, 12), (12, 18), (18, 22.3)):
        chosen = (rooms >= least) & (rooms < most)
        assert (moved / rooms)[chosen].max() > 0.95
        assert np.mean((moved / rooms)[chosen]) == pytest.approx(2 / 3, abs=0.05)  # of the larger of two uniform


def test_every_scale_is_drawn_alike() -> None:
    augmentation = PhotoAugmentation((100, 100), flip_x=0.0)
    drawn = [augmentation.draw(300, 300, np.random.default_rng(seed)).matrix[0, 0] for seed in range(2200)]
    expected = [round(100 / scale) / 100 for scale in HUNG_SCALES]
    counts = np.array([sum(np.isclose(drawn, step)) for step in expected])
    assert counts.sum() == 2200
    assert (np.abs(counts - 200) < 5 * np.sqrt(200)).all()


def test_switching_one_kind_off_leaves_the_other_draws() -> None:
    one, other = (PhotoAugmentation((20, 20), flip_x=p, rotate_deg=9.0) for p in (0.0, 1.0))
    for seed in range(20):
        a, b = (kind.draw(50, 60, np.random.default_rng(seed)).matrix for kind in (one, other))
        np.testing.assert_allclose(a[:, 1], -b[:, 1])
        np.testing.assert_allclose(a @ (0, 20, 1), b @ (0, 0, 1))


def test_the_same_generator_gives_the_same_view_and_workers_do_not_matter(source: Photos) -> None:
    views = PhotoViews(source, augmentation=EVERYTHING)
    assert same(views.view(1, np.random.default_rng(5)), views.view(1, np.random.default_rng(5)))
    assert not same(views.view(1, np.random.default_rng(5)), views.view(1, np.random.default_rng(6)))

    def batches(workers: int, position: int = 0) -> list[View]:
        with Stream(views, batch=2, seed=1, stream=0, workers=workers, position=position) as stream:
            return [batch.view for batch in islice(stream, 6 - position)]

    alone = batches(0)
    assert all(same(a, b) for a, b in zip(alone, batches(2), strict=True))
    assert all(same(a, b) for a, b in zip(alone[4:], batches(2, position=4), strict=True))


def test_unlabelled_views_show_no_label_but_the_same_image(source: Photos) -> None:
    shown, hidden = (
        PhotoViews(source, augmentation=EVERYTHING, labelled=labelled).view(0, np.random.default_rng(0))
        for labelled in (True, False)
    )
    assert (hidden.label == IGNORE).all()
    assert (shown.label != IGNORE).any()
    assert torch.equal(hidden.image, shown.image)
    assert torch.equal(hidden.valid, shown.valid)


@pytest.mark.parametrize("divisor", [(1, 1), (8, 8), (16, 32), (7, 5)])
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (16, 32), (33, 8)])
def test_padding_is_centred_and_the_way_back_is_exact(
    size: tuple[int, int], divisor: tuple[int, int], rng: np.random.Generator
) -> None:
    photo = blocks(rng, *size)
    image = PhotoPadding(divisor=divisor)(photo)
    view = image.view(("red", "green", "blue"), IMAGENET_MEAN, IMAGENET_STD)
    assert all(have % step == 0 and have - wanted < step for have, step, wanted in zip(
        (image.height, image.width), divisor, size, strict=True
    ))  # fmt: skip
    top, left = (have - wanted for have, wanted in zip((image.height, image.width), size, strict=True))
    inside = np.zeros((image.height, image.width), bool)
    inside[top // 2 : top // 2 + size[0], left // 2 : left // 2 + size[1]] = True
    np.testing.assert_array_equal(view.valid, inside)
    assert not view.image.numpy()[:, ~inside].any()
    assert (view.label.numpy()[~inside] == IGNORE).all()
    np.testing.assert_array_equal(image.back_project(view.label.numpy()), photo.label.reshape(-1))
    several = rng.random((2, 3, image.height, image.width))
    np.testing.assert_array_equal(image.back_project(several), several[..., inside].reshape(2, 3, -1))


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_an_enlarged_photo_gives_every_pixel_its_own_label_back(scale: float, rng: np.random.Generator) -> None:
    photo = Photo(rng.integers(0, 256, (9, 13, 3), np.uint8), rng.integers(0, K, (9, 13)).astype(np.uint8))
    image = PhotoPadding(scale, (8, 8))(photo)
    label = image.view(("red",), (0,), (1,)).label.numpy()
    np.testing.assert_array_equal(image.back_project(label), photo.label.reshape(-1))


def test_a_halved_photo_is_the_mean_of_two_by_two_and_gives_each_label_to_four(rng: np.random.Generator) -> None:
    photo = Photo(rng.integers(0, 256, (8, 12, 3), np.uint8), np.zeros((8, 12), np.uint8))
    image = PhotoPadding(0.5)(photo)
    view = image.view(("red", "green", "blue"), (0, 0, 0), (1, 1, 1))
    mean = photo.image.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(view.image.numpy().transpose(1, 2, 0) * 255, mean, atol=1e-3)
    grid = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(image.back_project(grid).reshape(8, 12), grid.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("scale", [1.0, 0.6, 1.7])
def test_the_way_back_takes_the_pixel_under_each_centre(scale: float, rng: np.random.Generator) -> None:
    image = PhotoPadding(scale, (8, 8))(blocks(rng, 21, 34))
    (h, w), (top, left) = image.scaled, image.corner
    grid = np.arange(image.height * image.width).reshape(image.height, image.width)
    expected = [
        grid[top + int(np.floor((r + 0.5) * h / 21)), left + int(np.floor((c + 0.5) * w / 34))]
        for r in range(21)
        for c in range(34)
    ]
    np.testing.assert_array_equal(image.back_project(grid), expected)


@pytest.mark.parametrize("divisor", [(1, 1), (8, 16)])
def test_a_perfect_network_scores_one_on_every_original_pixel(source: Photos, divisor: tuple[int, int]) -> None:
    views = PhotoViews(source, PhotoPadding(divisor=divisor))

    def oracle(image: torch.Tensor) -> torch.Tensor:
        red = (image[:, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 255 / 20
        return torch.nn.functional.one_hot(red.round().long().clamp(0, K - 1), K).movedim(-1, 1)

    samples = [views.sample(index) for index in range(3)]
    matrix = evaluate(oracle, samples, NearestPixel(), K, batch=2)
    assert matrix.mean_iou() == 1
    assert matrix.state.sum() == sum(photo.image[..., 0].size for photo in source.photos)
    assert all(sample.distance_m is None for sample in samples)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"crop": (0, 5)}, r"give \(height, width\)"),
        ({"scales": ()}, "give positive factors"),
        ({"scales": (1.0, 0.0)}, "give positive factors"),
        ({"flip_x": 1.5}, r"flip_x is 1\.5; give a probability"),
        ({"crop": (4, 5), "transpose": 0.5}, "give a square crop"),
        ({"rotate_deg": -1.0}, "rotate_deg is -1.0"),
        ({"stretch": 0.9}, "stretch is 0.9"),
    ],
)
def test_wrong_augmentations_say_what_to_give(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PhotoAugmentation(**({"crop": (8, 8)} | wrong))


def test_wrong_arguments_say_what_to_give(source: Photos) -> None:
    with pytest.raises(ValueError, match=r"got channels \('range',\); choose from red, green, blue"):
        PhotoViews(source, channels=("range",), mean=(0,), std=(1,))
    with pytest.raises(ValueError, match="got mean of shape"):
        PhotoViews(source, mean=(0,))
    with pytest.raises(ValueError, match="give a positive number"):
        PhotoPadding(0.0)
    with pytest.raises(ValueError, match="give a network's stride"):
        PhotoPadding(divisor=(0, 8))
    image = PhotoPadding(divisor=(8, 8))(source.photo(0))
    with pytest.raises(ValueError, match=r"give \(\.\.\., 32, 48\)"):
        image.back_project(np.zeros((30, 41)))
    with pytest.raises(ValueError, match="a grid that is large enough"):
        PaddedImage(source.photo(0), (30, 41), 30, 40)


@pytest.mark.parametrize("reflect", [False, True])
def test_rows_that_stay_rows_are_looked_up_like_all_others(reflect: bool) -> None:
    rng = np.random.default_rng(0)
    photo = blocks(rng, 30, 41)
    for scale, shift in ((0.7, -3.3), (1.0, 2.0), (2.3, -9.1), (-1.3, 35.2)):
        straight = np.array([[scale, 0, shift], [0, scale, shift]])
        hardly = straight + np.array([[0, 1e-12, 0], [1e-12, 0, 0]])
        one, other = (
            Window(24, 28, m, reflect).view(photo, COLORS, IMAGENET_MEAN, IMAGENET_STD) for m in (straight, hardly)
        )
        torch.testing.assert_close(one.image, other.image, atol=1e-4, rtol=1e-4)
        assert torch.equal(one.valid, other.valid)
        assert torch.equal(one.label, other.label)


def test_memory_changes_no_view_and_keeps_within_its_room() -> None:
    rng = np.random.default_rng(0)
    source = Photos([blocks(rng, 100, 100) for _ in range(60)])  # 40,000 bytes each
    plain, remembering = (
        PhotoViews(source, augmentation=PhotoAugmentation((16, 20)), memory_mb=room) for room in (0, 1)
    )
    for _ in range(2):
        for index in range(60):
            one, other = (views.view(index, np.random.default_rng(index)) for views in (plain, remembering))
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.label, other.label)
    memory = PhotoCache(1)
    for index in [*range(60), *range(60)]:
        assert memory(index, source.photo) is source.photos[index]
    assert len(memory) == 25
    reads: list[int] = []
    memory(3, lambda index: reads.append(index) or source.photo(index))  # type: ignore[func-returns-value]
    assert not reads
    with pytest.raises(ValueError, match="give 0 or more"):
        PhotoCache(-1)
