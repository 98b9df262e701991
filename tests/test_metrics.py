"""The confusion matrix against plain NumPy and, where it is installed, the official package."""

from __future__ import annotations

import numpy as np
import pytest

from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.types import IGNORE

K = 5


def random_pairs(rng: np.random.Generator, n: int = 5001) -> tuple[np.ndarray, np.ndarray]:
    label = rng.integers(0, K, n)
    prediction = np.where(rng.random(n) < 0.6, label, rng.integers(0, K, n))
    label[rng.random(n) < 0.1] = IGNORE
    prediction[rng.random(n) < 0.1] = IGNORE
    return prediction, label


def counts(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    state = np.zeros((K, K + 1), np.int64)
    for p, y in zip(prediction.tolist(), label.tolist(), strict=True):
        if y != IGNORE:
            state[y, p if 0 <= p < K else K] += 1
    return state


def scores(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    prediction, label = prediction[label != IGNORE], label[label != IGNORE]
    union = np.array([((prediction == c) | (label == c)).sum() for c in range(K)])
    hits = np.array([((prediction == c) & (label == c)).sum() for c in range(K)])
    return np.array([h / u if u else np.nan for h, u in zip(hits, union, strict=True)])


@pytest.mark.parametrize(
    ("prediction_type", "label_type"),
    [(np.uint8, np.uint8), (np.int64, np.uint8), (np.int32, np.int64), (np.int64, np.int64)],
)
def test_counts_equal_a_loop_whatever_the_integer_types(
    prediction_type: type[np.integer], label_type: type[np.integer], rng: np.random.Generator
) -> None:
    prediction, label = random_pairs(rng)
    matrix = ConfusionMatrix(K)
    matrix.update(prediction.astype(prediction_type), label.astype(label_type))
    np.testing.assert_array_equal(matrix.state, counts(prediction, label))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 2047, 2048, 2049, 4099])
def test_any_number_of_elements(n: int, rng: np.random.Generator) -> None:
    prediction, label = random_pairs(rng, n)
    matrix = ConfusionMatrix(K)
    matrix.update(prediction, label)
    np.testing.assert_array_equal(matrix.state, counts(prediction, label))


def test_predictions_that_are_no_class_are_misses(rng: np.random.Generator) -> None:
    for strange in (-1, K, IGNORE, 2**16, 2**32, -(2**40)):
        matrix = ConfusionMatrix(K)
        matrix.update(np.array([0, strange, 1]), np.array([0, 0, 1]))
        np.testing.assert_allclose(matrix.iou(), [0.5, 1, np.nan, np.nan, np.nan])
        assert matrix.accuracy() == pytest.approx(2 / 3)
        assert matrix.official_accuracy() == pytest.approx(1)


def test_scores_follow_their_definitions(rng: np.random.Generator) -> None:
    prediction, label = random_pairs(rng)
    prediction[prediction == 3], label[label == 3] = 2, 2  # class 3 is absent
    matrix = ConfusionMatrix(K)
    matrix.update(prediction, label)
    expected = scores(prediction, label)
    np.testing.assert_allclose(matrix.iou(), expected, rtol=1e-12)
    assert np.isnan(expected[3])
    assert matrix.mean_iou() == pytest.approx(np.nanmean(expected), rel=1e-12)
    assert matrix.official_mean_iou() == pytest.approx(np.nan_to_num(expected).mean(), rel=1e-12)
    assert matrix.accuracy() == pytest.approx((prediction == label)[label != IGNORE].mean(), rel=1e-12)


def test_a_dataset_in_parts_is_the_dataset(rng: np.random.Generator) -> None:
    prediction, label = random_pairs(rng)
    whole, first, second = (ConfusionMatrix(K) for _ in range(3))
    whole.update(prediction, label)
    first.update(prediction[:1000], label[:1000])
    second.update(prediction[1000:], label[1000:])
    np.testing.assert_array_equal((first + second).state, whole.state)
    first.update(prediction[1000:], label[1000:])
    np.testing.assert_array_equal(first.state, whole.state)
    np.testing.assert_array_equal(ConfusionMatrix(K, whole.state).state, whole.state)


def test_order_does_not_matter_and_renaming_classes_permutes_the_scores(rng: np.random.Generator) -> None:
    prediction, label = random_pairs(rng)
    shuffled, renamed, plain = (ConfusionMatrix(K) for _ in range(3))
    plain.update(prediction, label)
    order = rng.permutation(len(label))
    shuffled.update(prediction[order], label[order])
    np.testing.assert_array_equal(plain.state, shuffled.state)
    new = np.arange(IGNORE + 1)
    new[:K] = rng.permutation(K)
    renamed.update(new[prediction], new[label])
    np.testing.assert_allclose(renamed.iou()[new[:K]], plain.iou())


def test_nothing_counted_is_nan_and_officially_zero() -> None:
    matrix = ConfusionMatrix(K)
    matrix.update(np.array([1, 2]), np.array([IGNORE, IGNORE]))
    assert np.isnan(matrix.iou()).all()
    assert np.isnan(matrix.mean_iou())
    assert np.isnan(matrix.accuracy())
    assert matrix.official_mean_iou() == matrix.official_accuracy() == 0


def test_images_and_strided_arrays_count_like_flat_ones(rng: np.random.Generator) -> None:
    prediction, label = (x[:5000].reshape(50, 100) for x in random_pairs(rng))
    matrix = ConfusionMatrix(K)
    matrix.update(prediction.T[::2], label.T[::2])
    np.testing.assert_array_equal(matrix.state, counts(prediction.T[::2].ravel(), label.T[::2].ravel()))


def test_the_largest_number_of_classes(rng: np.random.Generator) -> None:
    ids = np.arange(IGNORE, dtype=np.uint8)
    matrix = ConfusionMatrix(IGNORE)
    matrix.update(ids, ids)
    matrix.update(np.array([IGNORE]), np.array([254]))
    assert np.trace(matrix.state) == IGNORE
    assert matrix.state[254, 255] == 1
    assert matrix.state.sum() == 256


@pytest.mark.parametrize("strange", [-1, K, 254, 256, 2**32])
def test_a_strange_label_is_an_error_and_nothing_is_counted(strange: int) -> None:
    matrix = ConfusionMatrix(K)
    label = np.zeros(5000, np.int64)
    label[4000] = strange
    with pytest.raises(ValueError, match=rf"Label {strange} is neither in 0..4 nor 255.*map raw ids"):
        matrix.update(np.zeros(5000, np.int64), label)
    assert not matrix.state.any()


def test_bad_input_says_what_to_do() -> None:
    matrix = ConfusionMatrix(K)
    with pytest.raises(ValueError, match="one prediction for each element"):
        matrix.update(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"prediction has dtype float64; give integer"):
        matrix.update(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"label has dtype bool; give integer"):
        matrix.update(np.zeros(3, int), np.zeros(3, bool))
    with pytest.raises(ValueError, match="give 1 to 255"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="give 1 to 255"):
        ConfusionMatrix(256)
    with pytest.raises(ValueError, match=r"need \(5, 6\)"):
        ConfusionMatrix(K, np.zeros((5, 5), int))


def test_official_scores_equal_the_official_package(rng: np.random.Generator) -> None:
    official = pytest.importorskip("auxiliary.np_ioueval", reason="semantic-kitti-api is not installed").iouEval(
        K + 1, [0]
    )
    matrix = ConfusionMatrix(K)
    for _ in range(3):
        prediction, label = random_pairs(rng)
        prediction[prediction == 3], label[label == 3] = 2, 2
        matrix.update(prediction, label)
        official.addBatch(*(np.where(x == IGNORE, 0, x + 1) for x in (prediction, label)))
    mean, per_class = official.getIoU()
    assert matrix.official_mean_iou() == pytest.approx(float(mean), abs=1e-12)
    np.testing.assert_allclose(matrix.official_iou(), per_class[1:], atol=1e-12)
    assert matrix.official_accuracy() == pytest.approx(float(official.getacc()), abs=1e-12)
