"""The moving average against its formula, whatever the type of the state, and what the teacher must never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rangeseg.teacher import EmaTeacher


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(6, 4, 1)
    )


def as_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.double().numpy().copy() for key, value in module.state_dict().items()}


def wander(student: nn.Module, seed: int) -> None:
    """One step of an imagined optimiser; BatchNorm sees a batch."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
        student.train()(torch.randn(2, 3, 8, 8, generator=rng))


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("buffers", ["ema", "copy", "own"])
def test_the_formula_over_several_steps(buffers: str, warmup: bool) -> None:
    student = network()
    teacher = EmaTeacher(student, 0.8, buffers=buffers, warmup=warmup)
    expected = as_arrays(student)
    first = as_arrays(student)
    for step in range(8):
        wander(student, step)
        teacher.update(student, step)
        decay = min(0.8, 1 - 1 / (step + 1)) if warmup else 0.8
        now = as_arrays(student)
        for key in expected:
            if "running" in key and buffers != "ema":
                expected[key] = now[key] if buffers == "copy" else first[key]
            elif "num_batches" in key:
                expected[key] = now[key] if buffers != "own" else first[key]
            else:
                expected[key] = decay * expected[key] + (1 - decay) * now[key]
        got = as_arrays(teacher.network)
        for key in expected:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_warmup_is_the_mean_of_all_students_at_first() -> None:
    student = network()
    teacher = EmaTeacher(student, 0.999, warmup=True)
    seen = []
    for step in range(5):
        wander(student, step)
        teacher.update(student, step)
        seen.append(student[0].weight.detach().clone())
    torch.testing.assert_close(teacher.network[0].weight, torch.stack(seen).mean(0))


class MixedState(nn.Module):
    """Every kind of state a network may have."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        self.narrow = nn.Parameter(torch.full((7,), fill))
        self.wide = nn.Parameter(torch.full((3,), fill, dtype=torch.float64))
        self.register_buffer("sixteen", torch.full((5,), fill, dtype=torch.float16))
        self.register_buffer("brain", torch.full((5,), fill, dtype=torch.bfloat16))
        self.register_buffer("count", torch.tensor(int(fill)))
        self.register_buffer("flag", torch.tensor([fill > 1]))
        self.tied = self.narrow

    def forward(self, image: Tensor) -> Tensor:
        return image


def test_every_floating_type_is_averaged_and_counters_are_copied() -> None:
    teacher = EmaTeacher(MixedState(1.0), 0.75)
    teacher.update(MixedState(9.0), 0)
    state = teacher.state_dict()
    for name, dtype in (
        ("narrow", torch.float32),
        ("wide", torch.float64),
        ("sixteen", torch.float16),
        ("brain", torch.bfloat16),
    ):
        assert state[name].dtype == dtype
        assert (state[name] == 3).all(), name  # 0.75 * 1 + 0.25 * 9: shared weights move once, not twice
    assert state["count"] == 9
    assert state["flag"].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_within_its_rounding(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, other = nn.Linear(50, 50).to(dtype), nn.Linear(50, 50).to(dtype)
    teacher = EmaTeacher(student, 0.6)
    teacher.update(other, 0)
    expected = 0.6 * student.weight.detach().double() + 0.4 * other.weight.detach().double()
    error = (teacher.network.weight.double() - expected).abs()
    assert error.max() <= 2 * torch.finfo(dtype).eps * expected.abs().max()


def test_equal_networks_stay_equal_to_the_bit() -> None:
    student = network()
    teacher = EmaTeacher(student)
    for step in range(20):
        teacher.update(student, step)
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize(("decay", "follows"), [(0.0, "student"), (1.0, "start")])
def test_decay_is_the_share_of_the_old_teacher(decay: float, follows: str) -> None:
    student = network()
    teacher = EmaTeacher(student, decay)
    start = network()
    wander(student, 1)
    teacher.update(student, 0)
    expected = {"student": student, "start": start}[follows]
    torch.testing.assert_close(dict(teacher.network.named_parameters()), dict(expected.named_parameters()))


def test_the_teacher_is_a_copy_that_asks_for_no_gradient() -> None:
    student = network()
    teacher = EmaTeacher(student)
    before = as_arrays(teacher.network)
    wander(student, 1)
    assert all((before[key] == value).all() for key, value in as_arrays(teacher.network).items())
    image = torch.randn(1, 3, 8, 8, requires_grad=True)
    assert not teacher(image).requires_grad
    assert not teacher.logits(image).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_targets_may_be_kept_for_a_backward_pass() -> None:
    teacher, logits = EmaTeacher(network()), torch.zeros(1, 4, 8, 8, requires_grad=True)
    (teacher(torch.randn(1, 3, 8, 8)) * logits.log_softmax(1)).sum().backward()
    assert logits.grad is not None


def test_answers_are_probabilities_of_the_logits() -> None:
    teacher, image = EmaTeacher(network()), torch.randn(2, 3, 8, 8)
    probabilities = teacher(image)
    assert probabilities.shape == (2, 4, 8, 8)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 8, 8))
    assert torch.equal(probabilities, teacher.logits(image).softmax(1))


def test_low_precision_answers_come_in_float32() -> None:
    teacher, image = EmaTeacher(network()), torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert teacher(image).dtype == teacher.logits(image).dtype == torch.float32


def test_eval_mode_answers_alike_and_leaves_its_statistics_alone() -> None:
    teacher, image = EmaTeacher(network().train()), torch.randn(2, 3, 8, 8)
    before = as_arrays(teacher.network)
    assert torch.equal(teacher(image), teacher(image))
    assert all((before[key] == value).all() for key, value in as_arrays(teacher.network).items())


def test_train_mode_uses_the_batch_and_moves_its_statistics() -> None:
    teacher, image = EmaTeacher(network().eval(), mode="train"), 5 + torch.randn(2, 3, 8, 8)
    before = as_arrays(teacher.network)
    assert not torch.equal(teacher(image), teacher(image))  # dropout
    assert (as_arrays(teacher.network)["1.running_mean"] != before["1.running_mean"]).any()


def test_state_goes_into_a_file_and_back(tmp_path: Any) -> None:
    student = network()
    teacher = EmaTeacher(student)
    wander(student, 1)
    teacher.update(student, 0)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    other = EmaTeacher(network(7))
    other.load_state_dict(torch.load(tmp_path / "teacher.pt", weights_only=True))
    image = torch.randn(1, 3, 8, 8)
    assert torch.equal(other(image), teacher(image))
    wander(student, 2)
    teacher.update(student, 1)
    other.update(student, 1)
    assert torch.equal(other(image), teacher(image))


def test_parameters_that_were_replaced_are_followed_all_the_same() -> None:
    student = network()
    teacher = EmaTeacher(student, 0.0)
    teacher.network[0].weight = nn.Parameter(torch.zeros(6, 3, 3, 3), requires_grad=False)
    teacher.update(student, 0)
    torch.testing.assert_close(teacher.network[0].weight.data, student[0].weight.data)


@pytest.mark.parametrize("bad", [{"decay": 1.5}, {"decay": -0.1}, {"buffers": "none"}, {"mode": "test"}])
def test_bad_settings_say_what_to_do(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"EmaTeacher got .*; (give|choose)"):
        EmaTeacher(network(), **bad)


def test_a_wrapped_student_is_told_to_be_unwrapped() -> None:
    student = network()
    with pytest.raises(ValueError, match=r"no '0.bias' .*unwrap"):
        EmaTeacher(student).update(nn.Sequential(student), 0)
