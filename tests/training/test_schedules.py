from __future__ import annotations

import numpy as np
import pytest
import torch

from lenscope.training.schedules import learning_rates


def rates_of_torch(make, peak, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < total else None
    return rates


@pytest.mark.parametrize("total", [1, 2, 3, 10, 37])
def test_cosine_is_that_of_torch(total):
    theirs = rates_of_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=total), 0.2, total)
    np.testing.assert_allclose(learning_rates("cosine", 0.2, total, 0, total), theirs, rtol=1e-9)


@pytest.mark.parametrize("total", [4, 5, 7, 10, 11, 100])
def test_onecycle_is_that_of_torch(total):
    theirs = rates_of_torch(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=total, cycle_momentum=False), 0.2, total
    )
    np.testing.assert_allclose(learning_rates("onecycle", 0.2, total, 0, total), theirs, rtol=1e-9, atol=1e-12)


def test_constant_is_constant():
    np.testing.assert_array_equal(learning_rates("constant", 0.25, 9, 3, 7), [0.25] * 4)
