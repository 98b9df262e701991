"""Strong augmentation of labelled views (`supervised.mix`), and RangeFormer's four, against loops in NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from perturbing import perturb
from test_perturbations import BATCH, CLASSES, HEIGHT, NAMED, WIDTH, CountingTeacher, labelled

from rangeseg.config import Config, config_from, read_config
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.labelled_mix import LabelledMix
from rangeseg.engine.training import train
from rangeseg.perturbations import (
    ICT,
    CutMix,
    CutOut,
    Geometric,
    Identity,
    LaserMix,
    RangeMix,
    RangePaste,
    RangeShift,
    RangeUnion,
    Sequential,
)
from rangeseg.registry import ConfigError
from rangeseg.types import IGNORE, PseudoLabelled, View

TAILS = (1, 3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gappy(seed: int) -> View:
    """Labelled views, of which every fifth label is missing."""
    view = labelled(seed)
    missing = torch.rand(view.label.shape, generator=rng(seed)) < 0.2
    return View(view.image, view.valid, view.label.masked_fill(missing | ~view.valid, IGNORE))


def asked(perturbation: Any, seed: int = 0) -> tuple[PseudoLabelled, View, View]:
    a, b = labelled(1), labelled(2)
    return perturb(perturbation, rng(seed), a, b, CountingTeacher(), labels=True), a, b


def sources(made: PseudoLabelled, a: View, b: View) -> np.ndarray:
    """(B, H, W): 1 where the pixel is from `b`, 0 from `a`, -1 where both are empty."""
    from_a, from_b = ((made.image == side.image).all(1).numpy() for side in (a, b))
    assert (from_a | from_b).all()
    return np.where(from_a & from_b, -1, from_b.astype(int))


def test_range_mix_is_a_checkerboard_of_two_to_five_bands_and_sectors() -> None:
    for seed in range(8):
        found = sources(*asked(RangeMix(probability=1.0), seed))
        for image in found:
            fits = [
                (n, m)
                for n in range(2, 6)
                for m in range(2, 6)
                if all(
                    image[y, x] in (-1, (((y + 1) * n - 1) // HEIGHT + ((x + 1) * m - 1) // WIDTH) % 2)
                    for y, x in np.ndindex(HEIGHT, WIDTH)
                )
            ]
            assert len(fits) == 1


def test_range_union_fills_about_half_of_what_is_empty_and_nothing_else() -> None:
    filled = possible = 0
    for seed in range(10):
        made, a, b = asked(RangeUnion(probability=1.0), seed)
        found = sources(made, a, b)
        open_ = (~a.valid & b.valid).numpy()
        assert (found[a.valid.numpy()] != 1).all()
        assert torch.equal(made.valid, a.valid | torch.from_numpy((found == 1) & open_))
        filled, possible = filled + int((found[open_] == 1).sum()), possible + int(open_.sum())
    assert filled / possible == pytest.approx(0.5, abs=0.05)


def test_range_union_leaves_no_gap_that_b_can_fill_at_fraction_1() -> None:
    made, a, b = asked(RangeUnion(fraction=1.0, probability=1.0))
    assert torch.equal(made.valid, a.valid | b.valid)


def test_range_union_fills_both_halves() -> None:
    for fraction in (1.0, 0.5):
        made, a, b = asked(RangeUnion(fraction=fraction, probability=1.0, complement=True))
        one, other = made.valid.chunk(2)
        for half, own, given in ((one, a, b), (other, b, a)):
            filled, gaps = (half & ~own.valid).sum(), (given.valid & ~own.valid).sum()
            assert (half >= own.valid).all()
            assert filled == gaps if fraction == 1 else 0 < filled < gaps


def test_range_paste_puts_every_rare_pixel_in_its_place() -> None:
    made, a, b = asked(RangePaste(tails=TAILS, probability=1.0))
    for one, y, x in np.ndindex(BATCH, HEIGHT, WIDTH):
        rare = bool(b.valid[one, y, x]) and int(b.label[one, y, x]) in TAILS
        source = b if rare else a
        assert torch.equal(made.image[one, :, y, x], source.image[one, :, y, x])
        assert int(made.target[one, :, y, x].argmax()) == int(source.label[one, y, x])
        assert made.valid[one, y, x] == source.valid[one, y, x]


def test_range_shift_turns_by_a_quarter_to_three_quarters_with_x_and_y() -> None:
    shifts = set()
    for seed in range(40):
        made, a, _ = asked(RangeShift(wrap=True, channels=NAMED), seed)
        for one in range(BATCH):
            (shift,) = (s for s in range(WIDTH) if torch.equal(made.valid[one], a.valid[one].roll(s, 1)))
            shifts.add(shift)
            angle = -2 * np.pi * shift / WIDTH
            x, y, z = (NAMED.read(a.image, name)[one].double().roll(shift, 1).numpy() for name in "xyz")
            turned = (np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z)
            there = made.valid[one].numpy()
            for name, expected in zip("xyz", turned, strict=True):
                found = NAMED.read(made.image, name)[one].numpy()
                np.testing.assert_allclose(found[there], expected[there], atol=1e-4)
    assert min(shifts) >= WIDTH // 4
    assert max(shifts) < 3 * WIDTH // 4
    assert len(shifts) > WIDTH // 4


def test_a_turn_of_any_size_draws_as_before_there_was_a_choice() -> None:
    drawn = torch.randint(WIDTH, (BATCH,), generator=rng(3))
    made, a, _ = asked(Geometric(mirror=0.0, wrap=True, channels=NAMED), 3)
    for one in range(BATCH):
        assert torch.equal(made.valid[one], a.valid[one].roll(int(drawn[one]), 1))


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_so_many_pairs_are_mixed_whole_or_not_at_all(probability: float) -> None:
    mixed = []
    for seed in range(60):
        made, a, b = asked(CutMix(complement=True, probability=probability), seed)
        for one in range(BATCH):
            changed = not torch.equal(made.image[one], a.image[one])
            assert changed == (not torch.equal(made.image[one + BATCH], b.image[one]))
            mixed.append(changed)
    assert np.mean(mixed) == pytest.approx(probability, abs=0.15)
    assert probability == 0.4 or np.mean(mixed) == probability


def test_sequential_is_one_after_another_with_the_same_other_views() -> None:
    parts = (RangeMix(), RangeUnion(probability=1.0), RangePaste(tails=TAILS), RangeShift(wrap=True, channels=NAMED))
    made, a, b = asked(Sequential(parts), 7)
    generator = rng(7)
    views, other = (PseudoLabelled(v.image, one_hot(v.label, CLASSES), None, v.valid) for v in (a, b))
    for part in parts:
        views = part(generator, views, other)
    for name in ("image", "valid", "target"):
        assert torch.equal(getattr(made, name), getattr(views, name))


def one_hot(label: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(label, classes).movedim(-1, 1).float()


def test_only_the_last_part_of_sequential_may_double_the_views() -> None:
    Sequential((CutMix(), LaserMix(complement=True)))
    with pytest.raises(ValueError, match="LaserMix returns more views than it is given; put it last"):
        Sequential((LaserMix(complement=True), CutMix()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RangePaste(), "does not know the rare classes"),
        (lambda: RangeUnion(fraction=1.5), "fraction=1.5"),
        (lambda: RangeMix(probability=-0.1), "probability=-0.1"),
        (lambda: RangeShift(turn=(0.7, 0.2)), "turn="),
        (lambda: RangeMix(bands=(0,)), "bands="),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class TestLabelledMix:
    def mix(self, *parts: Any, **settings: Any) -> LabelledMix:
        return LabelledMix(Sequential(parts), CLASSES, **settings)

    def test_doing_nothing_gives_the_views_and_labels_back(self) -> None:
        view = gappy(1)
        made = self.mix(Identity()).among(rng(), view)
        for name in ("image", "valid", "label"):
            assert torch.equal(getattr(made, name), getattr(view, name))

    def test_labels_and_gaps_go_with_the_pixels_of_the_next_view_of_the_batch(self) -> None:
        view = gappy(1)
        made = self.mix(CutMix()).among(rng(), view)
        followed = 0
        for one, y, x in np.ndindex(BATCH, HEIGHT, WIDTH):
            pixel = made.image[one, :, y, x]
            mine, next_ = one, (one + 1) % BATCH
            fits = [i for i in (mine, next_) if torch.equal(pixel, view.image[i, :, y, x])]
            assert fits
            assert made.label[one, y, x] in [view.label[i, y, x] for i in fits]
            followed += fits == [next_]
        assert followed > HEIGHT * WIDTH / 4

    def test_the_teacher_labels_what_it_is_sure_of(self) -> None:
        a, u, teacher = gappy(1), gappy(2), CountingTeacher()
        probabilities = np.exp(np.einsum("kc,bchw->bkhw", teacher.weight.numpy(), u.image.numpy()))
        probabilities /= probabilities.sum(1, keepdims=True)
        expected = np.where(probabilities.max(1) >= 0.8, probabilities.argmax(1), IGNORE)
        expected[~u.valid.numpy()] = IGNORE
        made = self.mix(LaserMix(complement=True), threshold=0.8).with_unlabelled(rng(), a, u, teacher)
        assert made.image.shape[0] == 2 * BATCH
        taken = torch.cat([(half.image == side.image).all(1) for half, side in zip(halves(made), (u, a), strict=True)])
        first, second = taken.chunk(2)
        label, other = made.label.chunk(2)
        only_u = first & ~(made.image[:BATCH] == a.image).all(1)
        assert only_u.any()
        np.testing.assert_array_equal(label.numpy()[only_u], expected[only_u])
        only_a = second & ~(made.image[BATCH:] == u.image).all(1)
        np.testing.assert_array_equal(other.numpy()[only_a], a.label.numpy()[only_a])
        assert 0 < (expected == IGNORE).mean() < 1

    def test_a_pixel_of_two_halves_has_no_label(self) -> None:
        view = labelled(1)
        view = View(view.image, torch.ones_like(view.valid), view.label)
        made = self.mix(ICT()).among(rng(), view)
        same = view.label == view.label.roll(-1, 0)
        assert torch.equal(made.label[same], view.label[same])
        assert set(made.label[~same].tolist()) <= {IGNORE, *range(CLASSES)}

    def test_erasing_takes_labels_along(self) -> None:
        made = self.mix(CutOut()).among(rng(), gappy(1))
        assert (~made.valid).any()
        assert (made.label[~made.valid] == IGNORE).all()


def halves(view: View) -> list[View]:
    return [View(*parts) for parts in zip(view.image.chunk(2), view.valid.chunk(2), view.label.chunk(2), strict=True)]


def settings_of(words: str, *overrides: str) -> Config:
    return read_config(f"mini_kitti+cutmix+{words}", ["data.root=x", *overrides])


def test_words_add_up_in_their_order_and_null_takes_one_back() -> None:
    config = settings_of("range_shift+range_mix+range_paste", "supervised.mix.range_paste=null")
    made = Experiment(config).labelled_mix
    assert made is not None
    assert isinstance(made.perturbation, Sequential)
    assert made.perturbation.parts == (
        RangeShift(wrap=True, channels=made.perturbation.parts[0].channels),
        RangeMix(wrap=True),
    )
    assert Experiment(settings_of("range_mix", "supervised.mix.range_mix=null")).labelled_mix is None
    assert Experiment(settings_of("supervised")).labelled_mix is None


def test_rangeformers_rare_classes_are_among_those_of_kitti() -> None:
    (paste,) = Experiment(settings_of("range_paste")).labelled_mix.perturbation.parts  # type: ignore[union-attr]
    other_ground = 11
    assert set(paste.tails) == {*range(1, 8), 15, 17, 18, other_ground}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.batch_labelled=1"], "data.batch_labelled is 1"),
        (["supervised.mix_with=unlabelled", "consistency.weight=0"], "consistency.weight is 0"),
        (["supervised.mix_with=unlabelled", "data.batch_labelled=3"], "one to one"),
        (["supervised.mix.range_mix=3"], "not a mapping of arguments"),
        (["supervised.mix.range_shift={}", "data.augmentation.columns=32"], r"shift: .* no effect .* no full turn"),
        (["supervised.mix.geometric={mirror: 0}", "data.projection.fov_left_deg=45"], "geometric: .* has no effect"),
        (["supervised.mix.color={}"], "color: .* has no effect"),
        (["supervised.mix.range_mix={band: 3}"], "supervised.mix.range_mix.band: unknown key"),
        (["supervised.mix.rangemix={}"], "supervised.mix.rangemix.name: 'rangemix' is unknown"),
    ],
)
def test_what_cannot_be_mixed_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = Experiment(settings_of("range_mix", *overrides)).labelled_mix


@pytest.mark.parametrize("with_", ["labelled", "unlabelled"])
def test_a_run_mixes_and_can_be_replayed(tiny_config: Config, tmp_path: Path, with_: str) -> None:
    results = []
    for number, mix in enumerate([{"range_mix": {"probability": 1.0}, "range_union": {}}] * 2 + [{}]):
        mixing = {"supervised": {"mix": mix, "mix_with": with_, "mix_threshold": 0.0}}
        config = config_from([as_layer(tiny_config), mixing, {"runtime": {"out": str(tmp_path / str(number))}}])
        train(config)
        results.append((tmp_path / str(number) / "metrics.csv").read_text())
    assert losses(results[0]) == losses(results[1])
    assert losses(results[0]) != losses(results[2])
    assert ("mixed" in results[0]) == (with_ == "unlabelled")
    assert "mixed" not in results[2]


def test_vat_finds_the_teacher(tiny_config: Config) -> None:
    tiny_config.supervised.mix = {"vat": {}}
    assert train(tiny_config) is not None


def as_layer(config: Config) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(replace(config))


def losses(table: str) -> list[str]:
    return [line for line in table.splitlines() if "supervised" in line or "mixed" in line]
