"""What perturbations ask of student and teacher, and what they must leave alone: laws of every entry of the table."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from perturbing import perturb
from torch import Tensor, nn

from rangeseg.catalog import PERTURBATIONS
from rangeseg.losses import consistency_loss
from rangeseg.masks import box_mask, grid_mask, sector_mask
from rangeseg.mixing import erase, mix, mix_probabilities
from rangeseg.perturbations import (
    AllOf,
    Channels,
    Compose,
    CowMix,
    CowOut,
    CutMix,
    CutOut,
    Erasing,
    FrustumMix,
    Identity,
    LaserMix,
    Mixing,
    OneOf,
    Perturbation,
    PolarMix,
)
from rangeseg.registry import ConfigError, build
from rangeseg.teacher import EmaTeacher, pseudo_labels
from rangeseg.types import IGNORE, PseudoLabelled, View

CLASSES, CHANNELS, HEIGHT, WIDTH, BATCH = 4, 5, 16, 32, 2
NAMED = Channels(("range", "x", "y", "z", "remission"), (20.0, 0.5, -0.1, -1.0, 0.5), (3.0, 9.0, 9.0, 1.0, 0.2))
SECTIONS: dict[str, dict[str, Any]] = {
    "compose": {"first": {"name": "cutmix"}, "then": [{"name": "geometric"}, {"name": "jitter"}]},
    "one_of": {"parts": [{"name": "cutmix"}, {"name": "lasermix"}]},
    "all_of": {"parts": [{"name": "cutmix"}, {"name": "jitter"}]},
    "range_mix": {"probability": 1.0},
    "range_union": {"probability": 1.0},
    "range_paste": {"probability": 1.0},
    "sequential": {"parts": [{"name": "cutmix"}, {"name": "range_union"}, {"name": "range_shift"}]},
}
VIEWS = {"all_of": 2 * 2}


PLANE = {"affine"}
"""Those that do not take cylinders."""


def make(name: str, *, wrap: bool = True, **context: Any) -> Perturbation:
    """The entry as a config makes it, with its defaults."""
    section = {"name": name} | SECTIONS.get(name, {})
    context = {"channels": NAMED, "things": (1, 2), "tails": (0, 3)} | context
    made: Perturbation = build(PERTURBATIONS, section, "perturbation", wrap=wrap and name not in PLANE, **context)
    return made


MIXES = [name for name in PERTURBATIONS if isinstance(make(name), Mixing)]
BLIND_MIXES = [name for name in MIXES if name not in ("classmix", "range_paste", "range_union")]
"""Those whose masks depend on nothing but the generator."""
STILL = [name for name in PERTURBATIONS if isinstance(make(name), Mixing | Erasing | Identity)]
"""Those that neither move nor change what they keep."""


class CountingTeacher:
    """Pointwise and known: logits are a fixed linear map of the pixel's channels."""

    def __init__(self) -> None:
        self.weight = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(9))
        self.read: list[Tensor] = []
        self.network = nn.Conv2d(CHANNELS, CLASSES, 1, bias=False).requires_grad_(False)
        self.network.weight.copy_(self.weight[..., None, None])

    def __call__(self, image: Tensor) -> Tensor:
        return self.logits(image).softmax(1)

    def logits(self, image: Tensor) -> Tensor:
        self.read.append(image)
        return torch.einsum("kc,bchw->bkhw", self.weight, image)


def views(seed: int) -> View:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(BATCH, HEIGHT, WIDTH, generator=rng) < 0.8
    image = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, generator=rng) * valid[:, None]
    return View(image, valid, torch.full((BATCH, HEIGHT, WIDTH), IGNORE))


def labelled(seed: int) -> View:
    """The same views with a label at every pixel."""
    view, rng = views(seed), torch.Generator().manual_seed(seed + 10)
    return View(view.image, view.valid, torch.randint(CLASSES, view.valid.shape, generator=rng))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(CHANNELS, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, CLASSES, 1))


def apply(perturbation: Any, teacher: Any = None, seed: int = 5, **options: bool) -> PseudoLabelled:
    rng = torch.Generator().manual_seed(seed)
    return perturb(perturbation, rng, views(1), views(2), teacher or CountingTeacher(), **options)


@pytest.mark.parametrize("name", PERTURBATIONS)
class TestEveryPerturbation:
    @pytest.mark.parametrize("wrap", [True, False])
    def test_shapes_types_and_devices(self, name: str, wrap: bool) -> None:
        perturbed, batch = apply(make(name, wrap=wrap), logits=True), VIEWS.get(name, BATCH)
        assert perturbed.image.shape == (batch, CHANNELS, HEIGHT, WIDTH)
        assert perturbed.target.shape == (batch, CLASSES, HEIGHT, WIDTH)
        assert perturbed.target_logits is not None
        assert perturbed.target_logits.shape == perturbed.target.shape
        assert perturbed.valid.shape == (batch, HEIGHT, WIDTH)
        assert perturbed.valid.dtype == torch.bool
        for field in (perturbed.image, perturbed.target, perturbed.target_logits):
            assert field.dtype == torch.float32
            assert torch.isfinite(field).all()

    def test_targets_are_probabilities_and_logits_come_only_when_asked_for(self, name: str) -> None:
        plain, asked = apply(make(name)), apply(make(name), logits=True)
        torch.testing.assert_close(plain.target.sum(1), torch.ones_like(plain.target[:, 0]))
        assert plain.target_logits is None
        assert asked.target_logits is not None
        torch.testing.assert_close(asked.target, plain.target)
        if name not in ("ict", "affine"):  # these average probabilities, and logits apart
            torch.testing.assert_close(asked.target_logits.softmax(1), plain.target)

    def test_the_same_generator_state_gives_the_same_result(self, name: str) -> None:
        torch.manual_seed(0)
        one = apply(make(name))
        torch.manual_seed(1)
        other = apply(make(name))
        for field in ("image", "target", "valid"):
            assert torch.equal(getattr(one, field), getattr(other, field))

    def test_the_low_precision_of_the_networks_does_not_reach_it(self, name: str) -> None:
        """The trainer perturbs under autocast. Half precision would move a place in the view by a pixel."""
        teacher = CountingTeacher()
        a, b = pseudo_labels(teacher, views(1), views(2))
        made = make(name).with_network(teacher.network)
        one = made(seeded(), a, b)
        with torch.autocast("cpu", torch.bfloat16):
            other = made(seeded(), a, b)
        for field in ("image", "target", "valid"):
            assert torch.equal(getattr(one, field), getattr(other, field))

    def test_another_generator_state_gives_another_result(self, name: str) -> None:
        same = torch.equal(apply(make(name)).image, apply(make(name), seed=6).image)
        # there is no colour here, and all rare things are pasted
        assert same == (name in ("identity", "color", "range_paste"))

    def test_the_teacher_is_asked_once_and_sees_the_views_unperturbed(self, name: str) -> None:
        for logits in (False, True):
            teacher = CountingTeacher()
            apply(make(name), teacher, logits=logits)
            (read,) = teacher.read
            whole = torch.cat([views(1).image, views(2).image])
            assert torch.equal(read, whole[: len(read)])

    def test_asked_apart_the_teacher_sees_each_view_alone_and_says_the_same(self, name: str) -> None:
        teacher = CountingTeacher()
        apart = apply(make(name), teacher, joint=False)
        for read, view in zip(teacher.read, (views(1), views(2)), strict=False):
            assert torch.equal(read, view.image)
        torch.testing.assert_close(apart.target, apply(make(name)).target)

    def test_labels_are_the_answer_where_there_are_any(self, name: str) -> None:
        """With every pixel labelled the teacher's word counts nowhere: what it says may change as it likes."""
        answers = []
        for seed in (1, 2):
            teacher, perturbation = CountingTeacher(), make(name)
            teacher.weight = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(seed))
            answers.append(perturb(perturbation, seeded(), labelled(1), labelled(2), teacher, labels=True).target)
        assert torch.equal(*answers)
        if name in [*MIXES, "identity", "jitter", "cutout", "cowout", "color", "vat"]:
            assert set(answers[0].unique().tolist()) == {0.0, 1.0}
        unlabelled = apply(make(name), labels=True)
        assert torch.equal(unlabelled.target, apply(make(name)).target)

    def test_empty_pixels_stay_empty(self, name: str) -> None:
        perturbed = apply(make(name))
        assert perturbed.valid.any()
        assert (perturbed.image.movedim(1, -1)[~perturbed.valid] == 0).all()

    def test_consistency_moves_the_student_and_never_the_teacher(self, name: str) -> None:
        student = network()
        teacher = EmaTeacher(student)
        with torch.no_grad():
            student[0].weight.mul_(1.5)
        before = copy.deepcopy(teacher.state_dict())
        perturbed = perturb(make(name), seeded(), views(1), views(2), teacher)
        assert not perturbed.image.requires_grad
        assert not perturbed.target.requires_grad
        loss = consistency_loss(student(perturbed.image), perturbed.target, perturbed.valid, threshold=0.0)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student[3].parameters())
        assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
        assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())

    def test_the_student_keeps_no_gradient_from_being_asked(self, name: str) -> None:
        student = network()
        perturb(make(name), seeded(), views(1), views(2), EmaTeacher(student))
        assert all(p.grad is None for p in student.parameters())

    @pytest.mark.parametrize("training", [True, False])
    def test_the_teachers_mode_stays(self, name: str, training: bool) -> None:
        teacher = EmaTeacher(network(), mode="train" if training else "eval")
        perturb(make(name), seeded(), views(1), views(2), teacher)
        assert all(module.training == training for module in teacher.network.modules())

    def test_views_are_left_alone(self, name: str) -> None:
        a, b = views(1), views(2)
        perturb(make(name), seeded(), a, b, CountingTeacher())
        for view, whole in ((a, views(1)), (b, views(2))):
            for field in ("image", "valid", "label"):
                assert torch.equal(getattr(view, field), getattr(whole, field))


@pytest.mark.parametrize("name", STILL)
def test_student_and_target_agree_pixel_by_pixel(name: str) -> None:
    # A pointwise teacher asked about what the student sees gives the target: nothing was moved.
    teacher = CountingTeacher()
    perturbed = apply(make(name), teacher)
    again = teacher(perturbed.image).movedim(1, -1)[perturbed.valid]
    torch.testing.assert_close(again, perturbed.target.movedim(1, -1)[perturbed.valid])


@pytest.mark.parametrize("name", MIXES)
def test_every_pixel_comes_from_exactly_one_view_with_all_that_belongs_to_it(name: str) -> None:
    a, b, teacher = views(1), views(2), CountingTeacher()
    perturbed = perturb(make(name), seeded(), a, b, teacher)
    from_a, from_b = ((perturbed.image == side.image).all(1) for side in (a, b))
    assert (from_a | from_b).all()
    assert (from_a ^ from_b)[a.valid | b.valid].all()  # both are 0 where both are empty
    assert from_a[a.valid].any()
    assert from_b[b.valid].any()
    mask = from_b & ~from_a
    known = from_a ^ from_b
    assert torch.equal(perturbed.valid[known], torch.where(mask, b.valid, a.valid)[known])
    target = mix_probabilities(teacher(a.image), teacher(b.image), mask)
    torch.testing.assert_close(perturbed.target.movedim(1, -1)[known], target.movedim(1, -1)[known])


@pytest.mark.parametrize("name", BLIND_MIXES)
def test_a_mix_and_the_mix_of_the_exchanged_views_share_out_both(name: str) -> None:
    a, b, teacher = views(1), views(2), CountingTeacher()
    one = perturb(make(name), seeded(), a, b, teacher)
    other = perturb(make(name), seeded(), b, a, teacher)
    assert torch.equal(one.image + other.image, a.image + b.image)
    assert torch.equal(one.valid.int() + other.valid.int(), a.valid.int() + b.valid.int())
    torch.testing.assert_close(one.target + other.target, teacher(a.image) + teacher(b.image))


@pytest.mark.parametrize("name", [name for name in MIXES if name != "range_union"])
def test_the_complement_is_the_mix_of_the_exchanged_views(name: str) -> None:
    section = {"name": name, "complement": True} | SECTIONS.get(name, {})
    context = {"channels": NAMED, "wrap": True, "tails": (0, 3)}
    both = apply(build(PERTURBATIONS, section, "p", **context))
    one, other = (View(*(field.chunk(2)[half] for field in (both.image, both.valid, both.valid))) for half in (0, 1))
    assert torch.equal(one.image, apply(make(name)).image)
    assert torch.equal(one.image + other.image, views(1).image + views(2).image)
    assert torch.equal(one.valid.int() + other.valid.int(), views(1).valid.int() + views(2).valid.int())


def test_several_are_their_parts_one_after_another() -> None:
    rng, teacher = seeded(), CountingTeacher()
    parts = (CutMix(wrap=True), LaserMix(bands=(3,)), CutOut())
    expected = [perturb(part, rng, views(1), views(2), CountingTeacher()) for part in parts]
    made = perturb(AllOf(parts), seeded(), views(1), views(2), teacher)
    assert len(teacher.read) == 1
    for field in ("image", "valid"):
        assert torch.equal(getattr(made, field), torch.cat([getattr(one, field) for one in expected]))
    torch.testing.assert_close(made.target, torch.cat([one.target for one in expected]))


class TestThings:
    """PolarMix's second half, against a loop over pixels."""

    COPIES, THINGS = 3, (0, 2)

    def mixed(self, seed: int = 5, **context: Any) -> tuple[PseudoLabelled, View, View]:
        a, b = self.scene(1), self.scene(2)
        made = PolarMix(fraction=0.0, copies=self.COPIES, things=self.THINGS, wrap=True, **context)
        return perturb(made, torch.Generator().manual_seed(seed), a, b, CountingTeacher(), labels=True), a, b

    def scene(self, seed: int) -> View:
        view = labelled(seed)
        distance = torch.rand(view.valid.shape, generator=torch.Generator().manual_seed(seed)) * 40 + 2
        return View(NAMED.replace(view.image, {"range": distance}, view.valid), view.valid, view.label)

    def test_every_pixel_shows_the_nearest_of_the_scene_and_the_copies(self) -> None:
        perturbed, a, b = self.mixed(channels=NAMED)
        distance = {name: NAMED.read(image, "range") for name, image in (("a", a.image), ("b", b.image))}
        shown = NAMED.read(perturbed.image, "range")
        thing = b.valid & ((b.label == 0) | (b.label == 2))
        hits = 0
        for one in range(BATCH):
            shifts = [
                [s for s in range(WIDTH) if self.explains(perturbed, a, b, one, s, low, low + 1 / 3)]
                for low in (0, 1 / 3)
            ]
            for y, x in np.ndindex(HEIGHT, WIDTH):
                seen = [distance["a"][one, y, x]] if a.valid[one, y, x] else []
                assert not seen or shown[one, y, x] <= seen[0] + 1e-3
                if thing[one, y, x] and (not seen or distance["b"][one, y, x] < seen[0]):
                    hits += 1
                    assert shown[one, y, x] <= distance["b"][one, y, x] + 1e-3
            assert all(shifts)
        assert hits > 20

    def explains(
        self, perturbed: PseudoLabelled, a: View, b: View, one: int, shift: int, low: float, high: float
    ) -> bool:
        """Whether the things of `b` turned by `shift` columns are nowhere behind what the mixed view shows."""
        if not low <= shift / WIDTH <= high:
            return False
        thing = (b.valid & ((b.label == 0) | (b.label == 2)))[one].roll(shift, 1)
        distance = NAMED.read(b.image, "range")[one].roll(shift, 1)
        return bool((NAMED.read(perturbed.image, "range")[one][thing] <= distance[thing] + 1e-3).all())

    def test_what_is_pasted_is_a_thing_and_what_is_not_stays(self) -> None:
        perturbed, a, _ = self.mixed(channels=NAMED)
        pasted = ~((perturbed.image == a.image).all(1) & (perturbed.valid == a.valid))
        answer = perturbed.target.argmax(1)
        assert pasted.any()
        assert ((answer == 0) | (answer == 2))[pasted].all()
        assert torch.equal(answer[~pasted], a.label[~pasted])
        assert perturbed.valid[pasted].all()

    def test_without_a_range_copies_are_in_front(self) -> None:
        perturbed, _, b = self.mixed()
        thing = b.valid & ((b.label == 0) | (b.label == 2))
        answer = perturbed.target.argmax(1)
        assert ((answer == 0) | (answer == 2))[thing].all()

    def test_on_a_plane_they_stay_in_their_place(self) -> None:
        a, b = self.scene(1), self.scene(2)
        made = PolarMix(fraction=0.0, copies=2, things=(0,), channels=NAMED)
        perturbed = perturb(made, seeded(), a, b, CountingTeacher(), labels=True)
        nearer = (NAMED.read(b.image, "range") < NAMED.read(a.image, "range")) | ~a.valid
        expected = mix(a, b, (b.label == 0) & b.valid & nearer)
        assert torch.equal(perturbed.image, expected.image)
        assert torch.equal(perturbed.valid, expected.valid)

    @pytest.mark.parametrize("bad", [{"copies": -1}, {"copies": 3}])
    def test_bad_copies_show_at_birth(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"PolarMix .*; ?give|PolarMix .*give the train ids"):
            PolarMix(**bad)


def test_strips_are_the_masks_of_their_names() -> None:
    valid, answer = views(2).valid, torch.zeros(BATCH, CLASSES, HEIGHT, WIDTH)
    shape = tuple(valid.shape)
    for settings in ({}, {"bands": (4,), "sectors": (2, 6), "wrap": True}):
        expected = grid_mask(seeded(), *shape, **({"sectors": (1,)} | settings))
        assert torch.equal(LaserMix(**settings).draw_mask(seeded(), valid, answer), expected)
    expected = sector_mask(seeded(), *shape, fraction=0.25, wrap=True)
    assert torch.equal(PolarMix(fraction=0.25, wrap=True).draw_mask(seeded(), valid, answer), expected)


def test_frustummix_draws_bands_or_a_sector_for_each_view() -> None:
    valid, answer = torch.ones(2000, 12, 16, dtype=torch.bool), torch.zeros(2000, 1, 12, 16)
    for vertical in (0.0, 0.3, 1.0):
        mask = FrustumMix(vertical=vertical, wrap=True).draw_mask(seeded(), valid, answer)
        bands, sector = (mask == mask[:, :, :1]).all(2).all(1), (mask == mask[:, :1]).all(2).all(1)
        assert (bands ^ sector).all()
        assert bands.float().mean().item() == pytest.approx(vertical, abs=0.04)


@pytest.mark.parametrize("vertical", [-0.1, 1.1])
def test_frustummix_refuses_what_is_no_probability(vertical: float) -> None:
    with pytest.raises(ValueError, match=r"FrustumMix got vertical=.*; give"):
        FrustumMix(vertical=vertical)


def test_a_config_builds_sections_within_sections() -> None:
    section = {"name": "compose", "first": {"name": "cutmix", "area": 0.3}, "then": [{"name": "cutout", "boxes": 2}]}
    made = build(PERTURBATIONS, section, "perturbation", wrap=True)
    assert made.first == CutMix(area=0.3, wrap=True)
    assert made.then == (CutOut(boxes=2, wrap=True),)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "compose", "first": {"name": "cutmix"}, "then": [{"name": "jiter"}]}, r"p\.then\[0\].*'jitter'"),
        ({"name": "compose", "first": {"name": "cutmix"}, "then": [{"name": "cutmix"}]}, r"p: .*can only be first"),
        ({"name": "compose", "first": {"name": "cutmix"}, "then": []}, r"p: .*(is|are) empty; give"),
        ({"name": "compose", "first": {"name": "cutmix"}, "then": {"name": "jitter"}}, r"p\.then: expected tuple"),
        ({"name": "compose", "first": "cutmix", "then": [{"name": "jitter"}]}, r"p: .*'cutmix'; give"),
        ({"name": "compose", "first": {"name": "cutmix"}, "then": ["jitter"]}, r"p: .*'jitter'; give"),
        ({"name": "compose", "first": {"name": "cutmix", "size": 3}, "then": []}, r"p\.first\.size: unknown key"),
        ({"name": "one_of", "parts": []}, r"p: .*(is|are) empty; give"),
        ({"name": "one_of", "parts": ["cutmix"]}, r"p: .*'cutmix'; give"),
    ],
)
def test_errors_of_nested_sections_say_where_and_what_to_do(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(PERTURBATIONS, section, "p")


def test_one_of_draws_all_alike() -> None:
    parts = (Identity(), CutOut(area=0.0), CutOut(area=1.0))
    seen = [int(apply(OneOf(parts), seed=seed).valid.sum()) for seed in range(300)]
    whole, nothing = int(views(1).valid.sum()), 0
    assert set(seen) == {whole, nothing}  # `keep: inside` of an empty box erases everything
    assert seen.count(nothing) == pytest.approx(100, abs=30)


def test_what_comes_on_top_changes_the_question_and_not_the_answer() -> None:
    rng = seeded()
    question = perturb(CutMix(wrap=True), rng, views(1), views(2), CountingTeacher())
    box = box_mask(rng, BATCH, HEIGHT, WIDTH, area=0.3)
    perturbed = apply(Compose(CutMix(wrap=True), (CutOut(area=0.3, keep="outside"),)))
    assert torch.equal(perturbed.target, question.target)
    assert torch.equal(perturbed.valid, question.valid & ~box)
    assert torch.equal(perturbed.image, question.image * perturbed.valid[:, None])


@pytest.mark.parametrize(
    "settings", [{}, {"area": (0.1, 0.3), "boxes": 3, "aspect": "fixed", "inside": False, "wrap": True}]
)
def test_cutmix_mixes_input_validity_and_answers_by_one_mask(settings: dict[str, Any]) -> None:
    perturbed = apply(CutMix(**settings), logits=True)
    mask = box_mask(seeded(), BATCH, HEIGHT, WIDTH, **settings)
    mixed, teacher = mix(views(1), views(2), mask), CountingTeacher()
    assert torch.equal(perturbed.image, mixed.image)
    assert torch.equal(perturbed.valid, mixed.valid)
    logits = mix_probabilities(teacher.logits(views(1).image), teacher.logits(views(2).image), mask)
    assert perturbed.target_logits is not None
    torch.testing.assert_close(perturbed.target_logits, logits)
    torch.testing.assert_close(perturbed.target, logits.softmax(1))


@pytest.mark.parametrize("keep", ["inside", "outside"])
def test_cutout_erases_one_side_of_the_box_and_does_not_count_it(keep: Any) -> None:
    perturbed = apply(CutOut(area=0.3, keep=keep, wrap=True))
    box = box_mask(seeded(), BATCH, HEIGHT, WIDTH, area=0.3, wrap=True)
    left = erase(views(1), ~box if keep == "inside" else box)
    assert torch.equal(perturbed.image, left.image)
    assert torch.equal(perturbed.valid, left.valid)
    torch.testing.assert_close(perturbed.target, CountingTeacher()(views(1).image))


def test_cutouts_two_polarities_share_out_the_view() -> None:
    inside, outside = apply(CutOut(keep="inside")), apply(CutOut(keep="outside"))
    assert torch.equal(inside.image + outside.image, views(1).image)
    assert not (inside.valid & outside.valid).any()
    assert torch.equal(inside.valid | outside.valid, views(1).valid)


def test_erased_pixels_give_the_student_no_gradient() -> None:
    perturbed = apply(CutOut(area=0.5))
    logits = torch.randn(BATCH, CLASSES, HEIGHT, WIDTH, requires_grad=True)
    consistency_loss(logits, perturbed.target, perturbed.valid, threshold=0.0).backward()
    assert logits.grad is not None
    moved = logits.grad.abs().sum(1) > 0
    assert torch.equal(moved, perturbed.valid)


def test_none_leaves_the_view_as_it_is_and_draws_nothing() -> None:
    rng = seeded()
    perturbed = perturb(Identity(), rng, views(1), views(2), CountingTeacher())
    assert torch.equal(perturbed.image, views(1).image)
    assert torch.equal(perturbed.valid, views(1).valid)
    assert torch.equal(rng.get_state(), seeded().get_state())


@pytest.mark.parametrize("bad", [{"area": 2.0}, {"area": (0.5, 0.1)}, {"boxes": 0}, {"aspect": "round"}])
@pytest.mark.parametrize("kind", [CutMix, CutOut])
def test_bad_settings_show_at_birth(kind: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"; (give|choose)"):
        kind(**bad)


def test_the_area_is_the_first_argument() -> None:
    for kind in (CutMix, CutOut, CowMix, CowOut):
        assert kind(0.3).area == 0.3
    assert CutOut(0.3, "outside") == CutOut(area=0.3, keep="outside")


def test_a_wrong_polarity_shows_at_birth() -> None:
    with pytest.raises(ValueError, match=r"'inside'.*'outside'"):
        CutOut(keep="box")
