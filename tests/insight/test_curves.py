from __future__ import annotations

import numpy as np
import pytest

from lenscope.config import resolve
from lenscope.insight.curves import as_errors, curves_of, trace_curves
from lenscope.runs.files.metrics import Metrics
from lenscope.training.events import EpochMetrics

ROWS = [
    EpochMetrics(0, test_loss=2.3, test_accuracy=0.1, validation_loss=2.4, validation_accuracy=0.12),
    EpochMetrics(1, 1.0, None, 0.9, 0.7, 0.8, 0.75),
    EpochMetrics(2, 0.5, None, 0.6, 0.8, 0.4, 0.85),
]


def table(chart):
    return {line.split: (line.xs, line.ys) for line in chart.lines}


def test_a_line_per_split_with_its_own_points():
    curves = curves_of(Metrics.of(ROWS), resolve(data="fashion-mnist"), "a title")
    assert curves.title == "a title"
    loss, accuracy = curves.charts
    assert [line.name for line in loss.lines] == ["training (mean over the epoch)", "validation", "test"]
    assert table(loss) == {
        "train": ((1, 2), (1.0, 0.5)),
        "validation": ((0, 1, 2), (2.4, 0.9, 0.6)),
        "test": ((0, 1, 2), (2.3, 0.8, 0.4)),
    }
    assert table(accuracy) == {
        "validation": ((0, 1, 2), (0.12, 0.7, 0.8)),
        "test": ((0, 1, 2), (0.1, 0.75, 0.85)),
    }


def test_on_logarithmic_axes_an_accuracy_becomes_an_error():
    loss, accuracy = map(as_errors, curves_of(Metrics.of(ROWS), resolve(data="fashion-mnist"), "").charts)
    assert table(loss)["test"][1] == (2.3, 0.8, 0.4)
    assert table(accuracy)["test"][1] == pytest.approx((0.9, 0.25, 0.15))
    assert accuracy.title == "Error (1 − accuracy)"
    assert all((loss.log_x, loss.log_y, accuracy.log_x, accuracy.log_y))


def test_values_that_were_not_measured_or_are_not_finite_are_left_out():
    rows = [EpochMetrics(1, 1.0), EpochMetrics(2, float("inf")), EpochMetrics(3, 0.5)]
    loss, accuracy = curves_of(Metrics.of(rows), resolve(data="other"), "").charts
    assert table(loss) == {"train": ((1, 3), (1.0, 0.5))}
    assert accuracy.lines == ()


@pytest.mark.parametrize(("epochs", "losses", "accuracies"), [(1, 1, 1), (10, 9, 10), (40, 9, 10)])
def test_the_lectures_points_go_with_its_recipe_on_mnist(epochs, losses, accuracies):
    loss, accuracy = (
        table(chart)["lecture"] for chart in curves_of(Metrics.of(ROWS), resolve(epochs=epochs), "").charts
    )
    assert loss[0] == tuple(range(1, losses + 1))
    assert accuracy[0] == tuple(range(1, accuracies + 1))
    assert (loss[1][0], accuracy[1][0]) == (pytest.approx(1.0279), 0.8815)


def test_and_with_no_other_experiment():
    charts = curves_of(Metrics.of(ROWS), resolve(data="kmnist"), "").charts
    assert not any("lecture" in table(chart) for chart in charts)


def test_the_curves_of_a_run(tiny_run):
    curves = trace_curves(tiny_run)
    assert curves.title == "tiny"
    np.testing.assert_array_equal(table(curves.charts[0])["test"][1], tiny_run.metrics.test_loss)
    np.testing.assert_array_equal(table(curves.charts[0])["train"][1], tiny_run.metrics.train_loss[1:])
