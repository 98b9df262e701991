"""What perturbations ask of student and teacher, and what they must leave alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rangeseg.losses import consistency_loss
from rangeseg.masks import box_mask
from rangeseg.mix import erase, mix, mix_probabilities
from rangeseg.perturbations import PERTURBATIONS, CutMix, CutOut, NoPerturbation, Perturbed
from rangeseg.teacher import EmaTeacher
from rangeseg.types import IGNORE, View

CLASSES, CHANNELS, HEIGHT, WIDTH, BATCH = 4, 3, 16, 32, 2


class CountingTeacher:
    """Pointwise and known: logits are a fixed linear map of the pixel's channels."""

    def __init__(self) -> None:
        self.weight = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(9))
        self.read: list[Tensor] = []

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


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(CHANNELS, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, CLASSES, 1))


def no_student(image: Tensor) -> Tensor:
    raise AssertionError("These perturbations do not ask the student.")


def apply(perturbation: Any, teacher: Any = None, seed: int = 5) -> Perturbed:
    rng = torch.Generator().manual_seed(seed)
    perturbed: Perturbed = perturbation(rng, views(1), views(2), no_student, teacher or CountingTeacher())
    return perturbed


@pytest.mark.parametrize("name", PERTURBATIONS)
class TestEveryPerturbation:
    def test_shapes_types_and_devices(self, name: str) -> None:
        perturbed = apply(PERTURBATIONS[name](logits=True))
        assert perturbed.image.shape == (BATCH, CHANNELS, HEIGHT, WIDTH)
        assert perturbed.image.dtype == torch.float32
        assert perturbed.target.shape == (BATCH, CLASSES, HEIGHT, WIDTH)
        assert perturbed.valid.shape == (BATCH, HEIGHT, WIDTH)
        assert perturbed.valid.dtype == torch.bool

    def test_targets_are_probabilities_and_logits_come_only_when_asked_for(self, name: str) -> None:
        plain, asked = apply(PERTURBATIONS[name]()), apply(PERTURBATIONS[name](logits=True))
        torch.testing.assert_close(plain.target.sum(1), torch.ones(BATCH, HEIGHT, WIDTH))
        assert plain.target_logits is None
        assert asked.target_logits is not None
        torch.testing.assert_close(asked.target_logits.softmax(1), plain.target)

    def test_the_same_generator_state_gives_the_same_result(self, name: str) -> None:
        one, other = apply(PERTURBATIONS[name]()), apply(PERTURBATIONS[name]())
        for field in ("image", "target", "valid"):
            assert torch.equal(getattr(one, field), getattr(other, field))

    def test_the_teacher_is_asked_once_and_sees_the_views_unperturbed(self, name: str) -> None:
        for logits in (False, True):
            teacher = CountingTeacher()
            apply(PERTURBATIONS[name](logits=logits), teacher)
            (read,) = teacher.read
            whole = torch.cat([views(1).image, views(2).image])
            assert torch.equal(read, whole[: len(read)])

    def test_empty_pixels_stay_empty(self, name: str) -> None:
        perturbed = apply(PERTURBATIONS[name]())
        assert (perturbed.image.movedim(1, -1)[~perturbed.valid] == 0).all()

    def test_student_and_target_agree_pixel_by_pixel(self, name: str) -> None:
        # A pointwise teacher asked about what the student sees gives the target: nothing was moved.
        teacher = CountingTeacher()
        perturbed = apply(PERTURBATIONS[name](), teacher)
        again = teacher(perturbed.image).movedim(1, -1)[perturbed.valid]
        torch.testing.assert_close(again, perturbed.target.movedim(1, -1)[perturbed.valid])

    def test_consistency_moves_the_student_and_never_the_teacher(self, name: str) -> None:
        student = network()
        teacher = EmaTeacher(student)
        with torch.no_grad():
            student[0].weight.mul_(1.5)
        before = copy.deepcopy(teacher.state_dict())
        perturbed = PERTURBATIONS[name]()(seeded(), views(1), views(2), student, teacher)
        assert not perturbed.target.requires_grad
        loss = consistency_loss(student(perturbed.image), perturbed.target, perturbed.valid, threshold=0.0)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student[3].parameters())
        assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
        assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())

    def test_views_are_left_alone(self, name: str) -> None:
        a, b = views(1), views(2)
        PERTURBATIONS[name]()(seeded(), a, b, no_student, CountingTeacher())
        assert torch.equal(a.image, views(1).image)
        assert torch.equal(a.valid, views(1).valid)
        assert torch.equal(b.image, views(2).image)


@pytest.mark.parametrize(
    "settings", [{}, {"area": (0.1, 0.3), "boxes": 3, "aspect": "fixed", "inside": False, "wrap": True}]
)
def test_cutmix_mixes_input_validity_and_answers_by_one_mask(settings: dict[str, Any]) -> None:
    perturbed = apply(CutMix(**settings, logits=True))
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
    perturbed = NoPerturbation()(rng, views(1), views(2), no_student, CountingTeacher())
    assert torch.equal(perturbed.image, views(1).image)
    assert torch.equal(perturbed.valid, views(1).valid)
    assert torch.equal(rng.get_state(), seeded().get_state())


@pytest.mark.parametrize("bad", [{"area": 2.0}, {"area": (0.5, 0.1)}, {"boxes": 0}, {"aspect": "round"}])
@pytest.mark.parametrize("kind", [CutMix, CutOut])
def test_bad_settings_show_at_birth(kind: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"; (give|choose)"):
        kind(**bad)


def test_a_wrong_polarity_shows_at_birth() -> None:
    with pytest.raises(ValueError, match=r"'inside'.*'outside'"):
        CutOut(keep="box")
