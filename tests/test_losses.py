"""Losses and their gradients against derivations in plain NumPy float64, and against definitions by brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rangeseg.losses import (
    CONSISTENCY_KINDS,
    confidence_rate,
    consistency_loss,
    cross_entropy,
    lovasz_softmax,
)
from rangeseg.losses.lovasz import _jaccard_slope
from rangeseg.losses.numbers import as_planes, divide
from rangeseg.types import IGNORE

B, K, H, W = 2, 5, 4, 6
Array = np.ndarray


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def through_softmax(p: Array, slope: Array) -> Array:
    """Gradient with respect to logits of a function whose gradient with respect to probabilities is `slope`."""
    return p * (slope - (p * slope).sum(1, keepdims=True))


@pytest.fixture
def s(rng: np.random.Generator) -> Array:
    return rng.normal(0, 2, (B, K, H, W))


@pytest.fixture
def t(rng: np.random.Generator) -> Array:
    return rng.normal(0, 3, (B, K, H, W)) + 1.0


@pytest.fixture
def valid(rng: np.random.Generator) -> Array:
    return rng.random((B, H, W)) < 0.7


def value_and_gradient(loss: Callable[[Tensor], Tensor], logits: Array) -> tuple[float, Array]:
    x = torch.tensor(logits, requires_grad=True)
    result = loss(x)
    result.backward()
    assert result.shape == ()
    assert x.grad is not None
    return result.item(), x.grad.numpy()


def per_pixel(kind: str, s: Array, t: Array) -> tuple[Array, Array]:
    """(B, H, W) distance and its (B, K, H, W) gradient with respect to s, by hand."""
    p, q, e = softmax(s), softmax(t), 1e-6
    if kind == "var":
        return ((p - q) ** 2).sum(1), through_softmax(p, 2 * (p - q))
    if kind == "logits_var":
        return ((s - t) ** 2).sum(1) / np.sqrt(K), 2 * (s - t) / np.sqrt(K)
    if kind == "logits_smoothl1":
        d = s - t
        near = np.abs(d) < 1
        return np.where(near, d * d / 2, np.abs(d) - 0.5).sum(1) / np.sqrt(K), np.where(near, d, np.sign(d)) / np.sqrt(
            K
        )
    if kind == "bce":
        value = -(q * np.log(p + e) + (1 - q) * np.log(1 - p + e)).sum(1)
        return value, through_softmax(p, -q / (p + e) + (1 - q) / (1 - p + e))
    if kind == "kld":
        return (q * (np.log(q) - np.log(p))).sum(1), p - q
    hard = np.eye(K)[q.argmax(1)].transpose(0, 3, 1, 2)
    return -(hard * np.log(p)).sum(1), p - hard


def expected_consistency(
    kind: str, s: Array, t: Array, valid: Array, threshold: float, confidence: str, normalise: str
) -> tuple[float, Array]:
    distance, gradient = per_pixel(kind, s, t)
    confident = softmax(t).max(1) >= threshold
    among = np.ones_like(valid) if normalise == "all" else valid
    weight = valid * (confident if confidence == "pixel" else confident[among].mean())
    count = {"valid": valid.sum(), "confident": (valid & confident).sum(), "all": valid.size}[normalise]
    return float((weight * distance).sum() / count), weight[:, None] * gradient / count


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
@pytest.mark.parametrize("confidence", ["mean", "pixel"])
@pytest.mark.parametrize("normalise", ["valid", "confident", "all"])
def test_consistency_value_and_gradient(
    kind: str, confidence: str, normalise: str, s: Array, t: Array, valid: Array
) -> None:
    q, v, target_logits = torch.tensor(softmax(t)), torch.tensor(valid), torch.tensor(t)

    def loss(x: Tensor) -> Tensor:
        return consistency_loss(
            x, q, v, kind=kind, threshold=0.8, confidence=confidence, normalise=normalise, target_logits=target_logits
        )

    value, gradient = value_and_gradient(loss, s)
    expected_value, expected_gradient = expected_consistency(kind, s, t, valid, 0.8, confidence, normalise)
    assert 0.1 < (softmax(t).max(1) >= 0.8).mean() < 0.9
    assert value == pytest.approx(expected_value, rel=1e-10)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-7, atol=1e-12)
    assert (gradient.transpose(0, 2, 3, 1)[~valid] == 0).all()


def test_defaults_are_var_mean_valid_at_097(s: Array, t: Array, valid: Array) -> None:
    value, gradient = value_and_gradient(
        lambda x: consistency_loss(x, torch.tensor(softmax(t)), torch.tensor(valid)), s
    )
    expected_value, expected_gradient = expected_consistency("var", s, t, valid, 0.97, "mean", "valid")
    assert value == pytest.approx(expected_value, rel=1e-10)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
def test_the_target_gets_no_gradient(kind: str, s: Array, t: Array, valid: Array) -> None:
    target_logits = torch.tensor(t, requires_grad=True)
    x = torch.tensor(s, requires_grad=True)
    consistency_loss(
        x, target_logits.softmax(1), torch.tensor(valid), kind=kind, threshold=0.0, target_logits=target_logits
    ).backward()
    assert target_logits.grad is None
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["var", "kld", "logits_var", "logits_smoothl1"])
def test_agreement_costs_nothing(kind: str, t: Array, valid: Array) -> None:
    same = torch.tensor(t)
    value, gradient = value_and_gradient(
        lambda x: consistency_loss(x, same.softmax(1), torch.tensor(valid), kind=kind, threshold=0, target_logits=same),
        t,
    )
    assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
def test_one_hot_targets_are_finite(kind: str, s: Array, valid: Array) -> None:
    target = torch.zeros(B, K, H, W)
    target[:, 2] = 1
    x = torch.tensor(s, dtype=torch.float32, requires_grad=True)
    loss = consistency_loss(x, target, torch.tensor(valid), kind=kind, target_logits=target)
    loss.backward()
    assert torch.isfinite(loss)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
@pytest.mark.parametrize("confidence", ["mean", "pixel"])
@pytest.mark.parametrize("normalise", ["valid", "confident", "all"])
def test_no_valid_pixel_or_no_confident_one_gives_zero(kind: str, confidence: str, normalise: str, s: Array) -> None:
    uniform = torch.full((B, K, H, W), 1 / K, dtype=torch.float64)
    for valid in (torch.zeros(B, H, W, dtype=torch.bool), torch.ones(B, H, W, dtype=torch.bool)):
        value, gradient = value_and_gradient(
            lambda x, valid=valid: consistency_loss(
                x, uniform, valid, kind=kind, confidence=confidence, normalise=normalise, target_logits=uniform
            ),
            s,
        )
        assert value == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", CONSISTENCY_KINDS)
def test_low_precision_logits_are_scored_in_float32(kind: str, dtype: torch.dtype, s: Array, t: Array) -> None:
    x, target_logits = torch.tensor(s).to(dtype), torch.tensor(t).to(dtype)
    q, valid = target_logits.float().softmax(1), torch.ones(B, H, W, dtype=torch.bool)
    loss = consistency_loss(x, q, valid, kind=kind, threshold=0, target_logits=target_logits)
    assert loss.dtype == torch.float32
    assert torch.equal(
        loss, consistency_loss(x.float(), q, valid, kind=kind, threshold=0, target_logits=target_logits.float())
    )


def test_confidence_rate_is_the_share_of_valid_pixels(t: Array, valid: Array) -> None:
    q = torch.tensor(softmax(t))
    expected = (softmax(t).max(1) >= 0.8)[valid].mean()
    assert confidence_rate(q, torch.tensor(valid), 0.8).item() == pytest.approx(expected, rel=1e-6)
    assert confidence_rate(q, torch.zeros(B, H, W, dtype=torch.bool)).item() == 0
    assert confidence_rate(q, torch.tensor(valid), 0.0).item() == 1


@pytest.mark.parametrize("normalise", ["all", "valid", "confident"])
def test_confidence_rate_is_the_factor_of_the_loss(s: Array, t: Array, valid: Array, normalise: str) -> None:
    """As it is logged, under `preset: reference` (normalise "all") too, where invalid pixels are counted."""
    student, q, counts = torch.tensor(s), torch.tensor(softmax(t)), torch.tensor(valid)
    of_confident = normalise.replace("confident", "valid")  # whose denominator depends on the threshold
    trusting = consistency_loss(student, q, counts, threshold=0, normalise=of_confident)
    weighed = consistency_loss(student, q, counts, threshold=0.8, normalise=of_confident)
    trust = confidence_rate(q, counts, 0, normalise=of_confident)
    rate = confidence_rate(q, counts, 0.8, normalise=normalise)
    assert 0.05 < rate < 0.95
    assert (weighed / trusting).item() == pytest.approx((rate / trust).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("bad", "cure"),
    [
        ({"kind": "mse"}, "'mse'; choose one of var, "),
        ({"kind": "logits_var"}, r"needs target_logits; get them with pseudo_labels"),
        ({"confidence": "max"}, "'max'; choose 'mean' or 'pixel'"),
        ({"normalise": "some"}, "'some'; choose one of valid, "),
    ],
)
def test_bad_settings_say_what_to_do(bad: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        consistency_loss(torch.zeros(1, K, 2, 2), torch.zeros(1, K, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool), **bad)


@pytest.fixture
def label(rng: np.random.Generator) -> Array:
    label = rng.integers(0, K - 1, (B, H, W))  # class K-1 is absent
    return np.where(rng.random(label.shape) < 0.3, IGNORE, label)


@pytest.mark.parametrize("weight", [None, np.array([0.2, 3.0, 1.0, 0.5, 9.0])])
def test_cross_entropy_value_and_gradient(weight: Array | None, s: Array, label: Array) -> None:
    w = None if weight is None else torch.tensor(weight)
    value, gradient = value_and_gradient(lambda x: cross_entropy(x, torch.tensor(label), weight=w), s)
    p, seen = softmax(s).transpose(0, 2, 3, 1), label != IGNORE
    per_class = np.ones(K) if weight is None else weight
    share = per_class[label[seen]] / per_class[label[seen]].sum()
    expected = np.zeros((B, H, W, K))
    expected[seen] = share[:, None] * (p[seen] - np.eye(K)[label[seen]])
    assert value == pytest.approx(-(share * np.log(p[seen, label[seen]])).sum(), rel=1e-10)
    np.testing.assert_allclose(gradient, expected.transpose(0, 3, 1, 2), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize(
    "loss", [cross_entropy, lovasz_softmax, lambda x, y: cross_entropy(x, y, weight=torch.ones(K, dtype=torch.float64))]
)
def test_nothing_labelled_gives_zero_not_nan(loss: Callable[[Tensor, Tensor], Tensor], s: Array) -> None:
    value, gradient = value_and_gradient(lambda x: loss(x, torch.full((B, H, W), IGNORE)), s)
    assert value == 0
    assert (gradient == 0).all()


def test_classes_of_weight_zero_alone_give_zero(s: Array) -> None:
    weight = torch.tensor([0.0, 1, 1, 1, 1], dtype=torch.float64)
    assert cross_entropy(torch.tensor(s), torch.zeros(B, H, W, dtype=torch.int64), weight=weight).item() == 0


def jaccard_loss(wrong: set[int], truth: set[int]) -> float:
    """1 - IoU of one class when exactly the pixels in `wrong` are mistaken: the set function Lovász extends."""
    return len(wrong) / len(truth | wrong)


def lovasz_by_definition(s: Array, label: Array) -> tuple[float, Array]:
    """Sum over rising sets of mistakes, for each class present; pixels one by one."""
    p = softmax(s).transpose(0, 2, 3, 1).reshape(-1, K)
    y = label.reshape(-1)
    seen = np.flatnonzero(y != IGNORE)
    total, slope = 0.0, np.zeros_like(p)
    classes = sorted(set(y[seen].tolist()))
    for c in classes:
        truth = {int(i) for i in seen if y[i] == c}
        error = {int(i): 1 - p[i, c] if y[i] == c else p[i, c] for i in seen}
        mistakes: set[int] = set()
        for i in sorted(error, key=lambda i: -error[i]):
            gain = jaccard_loss(mistakes | {i}, truth) - jaccard_loss(mistakes, truth)
            mistakes.add(i)
            total += error[i] * gain / len(classes)
            slope[i, c] += (-1 if i in truth else 1) * gain / len(classes)
    shaped = slope.reshape(B, H, W, K).transpose(0, 3, 1, 2)
    return total, through_softmax(softmax(s), shaped)


def test_lovasz_is_the_extension_of_the_jaccard_set_function(s: Array, label: Array) -> None:
    value, gradient = value_and_gradient(lambda x: lovasz_softmax(x, torch.tensor(label)), s)
    expected_value, expected_gradient = lovasz_by_definition(s, label)
    assert value == pytest.approx(expected_value, rel=1e-10)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8, atol=1e-14)


def test_lovasz_of_certain_predictions_is_one_minus_mean_iou(rng: np.random.Generator, label: Array) -> None:
    prediction = rng.integers(0, K, label.shape)
    logits = 200.0 * np.eye(K)[prediction].transpose(0, 3, 1, 2)
    seen = label != IGNORE
    ious = [
        ((prediction == c) & (label == c))[seen].sum() / ((prediction == c) | (label == c))[seen].sum()
        for c in np.unique(label[seen])
    ]
    assert lovasz_softmax(torch.tensor(logits), torch.tensor(label)).item() == pytest.approx(
        1 - np.mean(ious), rel=1e-12
    )


def test_lovasz_keeps_ignored_pixels_and_absent_classes_out_also_when_they_are_sorted_too(
    s: Array, label: Array
) -> None:
    # What is done on a GPU, where ignored pixels and absent classes stay in the sort.
    p = torch.tensor(s).softmax(1).transpose(0, 1).flatten(1)
    y = torch.tensor(label).flatten()
    truth, labelled = y == torch.arange(K)[:, None], y != IGNORE
    error = torch.where(truth, 1 - p, p) * labelled
    slope = _jaccard_slope(error, truth, labelled)
    assert (slope[:, ~labelled] == 0).all()
    present = truth.any(1)
    whole = divide(((error * slope).sum(1) * present).sum(), present.sum())
    assert whole.item() == pytest.approx(lovasz_by_definition(s, label)[0], rel=1e-10)


def test_a_pixel_of_weight_two_counts_as_two_pixels(s: Array, label: Array) -> None:
    """The weighted losses are the plain ones of an image in which each pixel is there as often as it weighs."""
    once, often = torch.tensor(s), torch.tensor(label)
    weight = torch.from_numpy(np.random.default_rng(3).integers(0, 4, label.shape))
    weight[label == IGNORE] = 1
    flat = once.movedim(1, -1).reshape(-1, K).repeat_interleave(weight.flatten(), 0).T[None, :, None]
    repeated = often.flatten().repeat_interleave(weight.flatten())[None, None]
    seen = weight.double() / 4
    for loss in (lambda x, y, w: cross_entropy(x, y, pixel=w), lovasz_softmax):
        assert loss(once, often, seen).item() == pytest.approx(loss(flat, repeated, None).item(), rel=1e-6)
    single = lovasz_softmax(once.float(), often, seen.float())  # by the kernel
    assert single.item() == pytest.approx(lovasz_softmax(once, often, seen).item(), rel=1e-5)


def test_lovasz_in_float32_agrees_with_float64(s: Array, label: Array) -> None:
    y = torch.tensor(label)
    single = lovasz_softmax(torch.tensor(s, dtype=torch.float32), y)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(lovasz_softmax(torch.tensor(s), y).item(), rel=1e-5)


@pytest.mark.parametrize("pixels", [1, 7, 3000])
def test_the_kernel_ranks_as_torch_does(pixels: int) -> None:
    rng = torch.Generator().manual_seed(pixels)
    error = torch.rand(4, pixels, generator=rng)
    error[:, ::3] = 0.25  # equal errors keep their order
    labelled = torch.rand(pixels, generator=rng) < 0.8
    truth = (torch.randint(4, (pixels,), generator=rng) == torch.arange(4)[:, None]) & labelled
    error = error * labelled
    exact = _jaccard_slope(error.double(), truth, labelled)  # float64 goes the other way
    ours = _jaccard_slope(error, truth, labelled)
    torch.testing.assert_close(ours.double(), exact, atol=1e-6, rtol=0)


def test_planes_are_the_same_values_and_their_gradient_keeps_the_order_of_memory(s: Array) -> None:
    pixels = torch.from_numpy(s).float().to(memory_format=torch.channels_last).requires_grad_()
    planes = as_planes(pixels)
    assert planes.is_contiguous()
    assert torch.equal(planes, pixels)
    (gradient,) = torch.autograd.grad((planes**3).sum(), pixels)
    torch.testing.assert_close(gradient, 3 * pixels.detach() ** 2)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
