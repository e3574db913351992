from __future__ import annotations

import numpy as np
import pytest

from lenscope.data.dataset import Dataset
from lenscope.insight.intervals import wilson_interval
from lenscope.insight.mistakes import evaluate_answers


@pytest.fixture(scope="module")
def answers():
    """Log-probabilities of 200 images of five classes; nothing is called 4, and no image shows 3."""
    random = np.random.default_rng(7)
    logits = random.normal(size=(200, 5)).astype(np.float32)
    logits[:, 4] = -50
    labels = random.choice([0, 1, 2, 4], 200).astype(np.uint8)
    logits[np.arange(200), labels] += np.where(labels < 3, 1.5, 0)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels


@pytest.fixture(scope="module")
def evaluation(answers):
    log_probabilities, labels = answers
    images = np.zeros((200, 1, 2, 2), np.uint8)
    return evaluate_answers(log_probabilities, Dataset(images, labels, tuple("abcde"), "five"))


def test_the_answers(answers, evaluation):
    log_probabilities, labels = answers
    predicted = [max(range(5), key=row.__getitem__) for row in log_probabilities.tolist()]
    assert evaluation.predicted.tolist() == predicted
    np.testing.assert_allclose(evaluation.confidence, [np.exp(row.max()) for row in log_probabilities], rtol=1e-6)
    loss = np.mean([-row[label] for row, label in zip(log_probabilities.astype(float), labels, strict=True)])
    assert evaluation.loss == pytest.approx(loss, rel=1e-12)
    right = sum(label == answer for label, answer in zip(labels, predicted, strict=True))
    assert 0 < right < 200
    assert (evaluation.right, evaluation.accuracy) == (right, right / 200)
    assert evaluation.accuracy_interval == wilson_interval(right, 200)
    assert (evaluation.dataset, evaluation.classes) == ("five", tuple("abcde"))
    assert evaluation.labels.dtype == evaluation.predicted.dtype == np.int64
    assert evaluation.confidence.dtype == np.float32


def test_the_confusion_is_that_of_a_loop(evaluation):
    expected = np.zeros((5, 5), int)
    for label, answer in zip(evaluation.labels, evaluation.predicted, strict=True):
        expected[label, answer] += 1
    np.testing.assert_array_equal(evaluation.confusion, expected)
    assert expected.sum() == 200


def test_each_class_is_that_of_a_loop(evaluation):
    pairs = list(zip(evaluation.labels.tolist(), evaluation.predicted.tolist(), strict=True))
    assert [score.name for score in evaluation.by_class] == list("abce")  # d has no image
    for score in evaluation.by_class:
        label = "abcde".index(score.name)
        answers = [answer for own, answer in pairs if own == label]
        called = [own for own, answer in pairs if answer == label]
        found = answers.count(label)
        assert (score.images, score.recall) == (len(answers), found / len(answers))
        assert score.recall_interval == wilson_interval(found, len(answers))
        assert score.precision == (found / len(called) if called else None)


def test_the_worst_are_the_most_confident_mistakes(evaluation):
    worst = evaluation.worst(10)
    assert len(worst) == 10
    wrong = np.flatnonzero(evaluation.labels != evaluation.predicted)
    expected = sorted(wrong.tolist(), key=lambda index: (-evaluation.confidence[index], index))
    assert worst.tolist() == expected[:10]
    assert evaluation.worst(10_000).tolist() == expected
    assert evaluation.worst(0).tolist() == []


def test_equally_confident_mistakes_come_in_their_order():
    log_probabilities = np.log(np.full((4, 2), [0.75, 0.25], np.float32))
    dataset = Dataset(np.zeros((4, 1, 2, 2), np.uint8), np.array([1, 0, 1, 1], np.uint8), ("a", "b"), "two")
    assert evaluate_answers(log_probabilities, dataset).worst(9).tolist() == [0, 2, 3]
