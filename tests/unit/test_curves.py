from __future__ import annotations

import numpy as np
import pytest

from lenscope.config import resolve
from lenscope.insight.curves import curves_of, trace_curves
from lenscope.runs.metrics import Metrics
from lenscope.training.events import EpochMetrics

ROWS = [
    EpochMetrics(0, test_loss=2.3, test_accuracy=0.1, validation_loss=2.4, validation_accuracy=0.12),
    EpochMetrics(1, 1.0, None, 0.9, 0.7, 0.8, 0.75),
    EpochMetrics(2, 0.5, None, 0.6, 0.8, 0.4, 0.85),
]


def table(curves):
    return {curve.name: (curve.epochs.tolist(), curve.values.tolist()) for curve in curves}


def test_a_curve_a_part_with_its_own_points():
    curves = curves_of(Metrics.of(ROWS), resolve(data="fashion-mnist"), "a title")
    assert curves.title == "a title"
    assert table(curves.loss) == {
        "train": ([1, 2], [1.0, 0.5]),
        "validation": ([0, 1, 2], [2.4, 0.9, 0.6]),
        "test": ([0, 1, 2], [2.3, 0.8, 0.4]),
    }
    assert table(curves.accuracy) == {
        "validation": ([0, 1, 2], [0.12, 0.7, 0.8]),
        "test": ([0, 1, 2], [0.1, 0.75, 0.85]),
    }


def test_what_was_not_measured_has_no_curve():
    rows = [EpochMetrics(0, test_loss=2.3, test_accuracy=0.1)]
    curves = curves_of(Metrics.of(rows), resolve(data="fashion-mnist"), "")
    assert [curve.name for curve in curves.loss + curves.accuracy] == ["test", "test"]
    none = curves_of(Metrics.of([]), resolve(data="fashion-mnist"), "")
    assert none.loss == none.accuracy == ()


def test_a_point_that_is_not_finite_is_left_out():
    rows = [EpochMetrics(1, 1.0), EpochMetrics(2, float("inf")), EpochMetrics(3, 0.5)]
    assert table(curves_of(Metrics.of(rows), resolve(data="other"), "").loss) == {"train": ([1, 3], [1.0, 0.5])}


@pytest.mark.parametrize(("epochs", "losses", "accuracies"), [(1, 1, 1), (5, 5, 5), (10, 9, 10), (40, 9, 10)])
def test_the_lectures_points_go_with_its_recipe_on_mnist(epochs, losses, accuracies):
    curves = curves_of(Metrics.of(ROWS), resolve(epochs=epochs), "")
    loss, accuracy = table(curves.loss)["lecture"], table(curves.accuracy)["lecture"]
    assert loss[0] == list(range(1, losses + 1))
    assert accuracy[0] == list(range(1, accuracies + 1))
    assert (loss[1][0], accuracy[1][0]) == (pytest.approx(1.0279), 0.8815)
    assert curves.loss[-1].epochs.dtype == np.float64


@pytest.mark.parametrize("changes", [{"data": "kmnist"}, {"learning_rate": 1e-3}, {"validation": 5000}])
def test_and_with_no_other_experiment(changes):
    curves = curves_of(Metrics.of(ROWS), resolve(**changes), "")
    assert "lecture" not in table(curves.loss) | table(curves.accuracy)


def test_the_curves_of_a_run(tiny_run):
    curves = trace_curves(tiny_run)
    assert curves.title == "tiny"
    np.testing.assert_array_equal(table(curves.loss)["test"][1], tiny_run.metrics.test_loss)
    np.testing.assert_array_equal(table(curves.loss)["train"][1], tiny_run.metrics.train_loss[1:])
