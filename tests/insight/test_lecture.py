from __future__ import annotations

import pytest

from lenscope.config import resolve
from lenscope.insight import lecture


def test_the_table_in_nats_an_image():
    losses = [lecture.loss_per_image(loss) for loss in lecture.LOSS_AS_PRINTED[:9]]
    assert losses == pytest.approx([1.0279, 0.3504, 0.2661, 0.2197, 0.1840, 0.1596, 0.1413, 0.1268, 0.1151])
    assert lecture.LOSS_AS_PRINTED[9] is None
    assert tuple(range(1, 11)) == lecture.EPOCHS
    assert len(lecture.LOSS_AS_PRINTED) == len(lecture.ACCURACY) == 10
    assert (lecture.ACCURACY[0], lecture.ACCURACY[9]) == (0.8815, 0.974)


@pytest.mark.parametrize("settings", [{}, {"epochs": 3}, {"seed": 9}])
def test_what_belongs_beside_the_table(settings):
    assert lecture.is_lecture_experiment(resolve(**settings))


def test_what_does_not():
    changes = {
        "data": "fashion-mnist",
        "learning_rate": 1e-3,
        "batch_size": 50,
        "optimizer": "sgd",
        "schedule": "cosine",
        "weight_decay": 0.1,
        "network": "lenet1998",
        "validation": 5000,
        "init_from": "runs/a",
        "init": "he",
        "train_images": 1000,
    }
    for name, value in changes.items():
        assert not lecture.is_lecture_experiment(resolve(**{name: value})), name
