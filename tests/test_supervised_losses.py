"""Focal, hardest-pixel and boundary losses and their gradients against plain NumPy float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_losses import softmax, value_and_gradient
from torch import Tensor

from rangeseg.losses import boundary_loss, cross_entropy, focal_loss, ohem_cross_entropy
from rangeseg.types import IGNORE

B, K, H, W = 3, 4, 5, 7
Array = np.ndarray
WEIGHT = np.array([0.2, 3.0, 1.0, 0.5])
EVERY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "focal": focal_loss,
    "focal, weighted": lambda x, y: focal_loss(x, y, gamma=0.5, weight=torch.tensor(WEIGHT, dtype=x.dtype)),
    "ohem_ratio": lambda x, y: ohem_cross_entropy(x, y, share=0.4),
    "boundary": boundary_loss,
}
every_loss = pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)


@pytest.fixture
def s(rng: np.random.Generator) -> Array:
    return rng.normal(0, 2, (B, K, H, W))


@pytest.fixture
def label(rng: np.random.Generator) -> Array:
    label = rng.integers(0, K - 1, (B, H, W))  # class K-1 is absent
    label = np.where(rng.random(label.shape) < 0.3, IGNORE, label)
    label[2] = IGNORE  # a view without labels
    return label


def numerical_gradient(value: Callable[[Array], float], s: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros_like(s)
    for place in np.ndindex(s.shape):
        bump = np.zeros_like(s)
        bump[place] = step
        gradient[place] = (value(s + bump) - value(s - bump)) / (2 * step)
    return gradient


def negative_log(s: Array, label: Array) -> Array:
    """(B, H, W) -ln P_y, 0 where not labelled."""
    known = np.where(label == IGNORE, 0, label)
    chosen = np.take_along_axis(softmax(s), known[:, None], 1)[:, 0]
    return np.where(label == IGNORE, 0, -np.log(chosen))


def focal(s: Array, label: Array, gamma: float, weight: Array) -> float:
    loss = negative_log(s, label)
    w = np.where(label == IGNORE, 0, weight[np.where(label == IGNORE, 0, label)])
    return float((w * (1 - np.exp(-loss)) ** gamma * loss).sum() / w.sum())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_focal_loss_and_its_gradient(gamma: float, weight: Array | None, s: Array, label: Array) -> None:
    w = None if weight is None else torch.tensor(weight)
    ours = value_and_gradient(lambda x: focal_loss(x, torch.tensor(label), gamma=gamma, weight=w), s)
    per_class = np.ones(K) if weight is None else weight
    assert ours[0] == pytest.approx(focal(s, label, gamma, per_class), rel=1e-10)
    expected = numerical_gradient(lambda x: focal(x, label, gamma, per_class), s)
    np.testing.assert_allclose(ours[1], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_focal_loss_of_gamma_0_is_the_cross_entropy(weight: Array | None, s: Array, label: Array) -> None:
    w, y = None if weight is None else torch.tensor(weight), torch.tensor(label)
    ours = value_and_gradient(lambda x: focal_loss(x, y, gamma=0.0, weight=w), s)
    plain = value_and_gradient(lambda x: cross_entropy(x, y, weight=w), s)
    assert ours[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_focal_loss_of_certain_answers_is_finite(gamma: float, size: float) -> None:
    x = (size * torch.eye(2)[None, :, :, None]).requires_grad_()  # sure of pixel 0 and of pixel 1
    for label, expected in (([0, 1], 0.0), ([1, 0], size)):
        x.grad = None
        loss = focal_loss(x, torch.tensor(label).view(1, 2, 1), gamma=gamma)
        loss.backward()
        assert loss.item() == pytest.approx(expected, abs=1e-6)
        assert x.grad is not None
        assert x.grad.isfinite().all()


def hardest(s: Array, label: Array, share: float, weight: Array, factor: Array) -> float:
    seen = label != IGNORE
    each = (weight[label[seen]] * factor[seen] * negative_log(s, label)[seen]).tolist()
    kept = sorted(each)[-int(np.ceil(share * len(each))) :]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("share", [0.001, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_hardest_pixels_and_their_gradient(
    share: float, weighted: bool, s: Array, label: Array, rng: np.random.Generator
) -> None:
    weight = WEIGHT if weighted else np.ones(K)
    factor = rng.uniform(0, 1, label.shape) if weighted else np.ones(label.shape)
    given = {"weight": torch.tensor(weight), "factor": torch.tensor(factor)} if weighted else {}
    ours = value_and_gradient(lambda x: ohem_cross_entropy(x, torch.tensor(label), share=share, **given), s)
    assert ours[0] == pytest.approx(hardest(s, label, share, weight, factor), rel=1e-10)
    expected = numerical_gradient(lambda x: hardest(x, label, share, weight, factor), s)
    np.testing.assert_allclose(ours[1], expected, rtol=1e-5, atol=1e-9)
    count = np.ceil(share * (label != IGNORE).sum())
    assert (np.abs(ours[1]).sum(1) > 0).sum() == count


def test_all_of_the_hardest_pixels_are_the_cross_entropy(s: Array, label: Array) -> None:
    x, y = torch.tensor(s), torch.tensor(label)
    torch.testing.assert_close(ohem_cross_entropy(x, y, share=1.0), cross_entropy(x, y))


def edges(values: Array, labelled: Array) -> Array:
    """Of one class in one view, pixel by pixel."""
    result = np.zeros_like(values)
    for row, column in np.argwhere(labelled):
        rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        near = values[rows, columns][labelled[rows, columns]]
        result[row, column] = values[row, column] - near.min()
    return result


def boundary(s: Array, label: Array) -> float:
    views = []
    for probability, truth in zip(softmax(s), label, strict=True):
        labelled = truth != IGNORE
        if not labelled.any():
            continue
        scores = []
        for c in range(K):
            p, y = edges(probability[c], labelled), edges((truth == c).astype(float), labelled)
            precision, recall = (p * y).sum() / (p.sum() + 1e-7), (p * y).sum() / (y.sum() + 1e-7)
            scores.append(2 * precision * recall / (precision + recall + 1e-7))
        views.append(1 - np.mean(scores))
    return float(np.mean(views))


def test_boundary_loss_and_its_gradient(s: Array, label: Array) -> None:
    ours = value_and_gradient(lambda x: boundary_loss(x, torch.tensor(label)), s)
    assert ours[0] == pytest.approx(boundary(s, label), rel=1e-10)
    np.testing.assert_allclose(ours[1], numerical_gradient(lambda x: boundary(x, label), s), rtol=1e-4, atol=1e-9)


def test_boundary_loss_of_the_truth_is_the_share_of_classes_without_an_edge() -> None:
    label = np.zeros((1, 6, 8), dtype=np.int64)
    label[:, :, 4:] = 1
    certain = 1000.0 * np.eye(K)[label].transpose(0, 3, 1, 2)
    assert boundary_loss(torch.tensor(certain), torch.tensor(label)).item() == pytest.approx((K - 2) / K, abs=1e-6)
    moved = np.roll(certain, 2, axis=3)
    assert boundary_loss(torch.tensor(moved), torch.tensor(label)).item() > (K - 1) / K


@every_loss
def test_ignored_pixels_never_count(loss: Callable[..., Tensor], s: Array, label: Array) -> None:
    y = torch.tensor(label)
    value, gradient = value_and_gradient(lambda x: loss(x, y), s)
    assert (gradient.transpose(0, 2, 3, 1)[label == IGNORE] == 0).all()
    changed = np.where((label == IGNORE)[:, None], s + np.arange(K)[:, None, None], s)
    assert loss(torch.tensor(changed), y).item() == value


@every_loss
def test_nothing_labelled_gives_zero_with_a_gradient_of_zero(loss: Callable[..., Tensor], s: Array) -> None:
    value, gradient = value_and_gradient(lambda x: loss(x, torch.full((B, H, W), IGNORE)), s)
    assert value == 0
    assert (gradient == 0).all()


@every_loss
def test_every_loss_falls_as_it_is_followed(loss: Callable[..., Tensor], s: Array, label: Array) -> None:
    y, x = torch.tensor(label), torch.tensor(s)
    values = []
    for _ in range(50):
        x = x.detach().requires_grad_()
        value = loss(x, y)
        value.backward()
        values.append(value.item())
        assert x.grad is not None
        x = x - 20 * x.grad
    assert values[-1] < 0.9 * values[0]


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_logits_are_scored_in_float32(
    loss: Callable[..., Tensor], dtype: torch.dtype, s: Array, label: Array
) -> None:
    x, y = torch.tensor(s).to(dtype), torch.tensor(label)
    if loss is EVERY["focal, weighted"]:
        pytest.skip(reason="its weight follows the logits' type")
    assert torch.equal(loss(x, y), loss(x.float(), y))
    assert loss(x, y).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to compare with")
@every_loss
def test_a_gpu_gives_the_same(loss: Callable[..., Tensor], s: Array, label: Array) -> None:
    y = torch.tensor(label)

    def there(x: Tensor) -> Tensor:
        moved = x.to("cuda")
        if loss is EVERY["focal, weighted"]:
            return focal_loss(moved, y.to("cuda"), gamma=0.5, weight=torch.tensor(WEIGHT, device="cuda")).cpu()
        return loss(moved, y.to("cuda")).cpu()

    here, other = value_and_gradient(lambda x: loss(x, y), s), value_and_gradient(there, s)
    assert other[0] == pytest.approx(here[0], rel=1e-12)
    np.testing.assert_allclose(other[1], here[1], rtol=1e-10, atol=1e-14)
