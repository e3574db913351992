"""What many tests share: few threads, and a tiny experiment on real images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lenscope
from lenscope.data.dataset import Splits


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Two threads on a tiny network wait for each other longer than they work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist() -> Splits:
    """The bundled MNIST, whole."""
    return lenscope.load("mnist")


@pytest.fixture(scope="session")
def tiny(mnist) -> Splits:
    """The first 60 training and 20 test images of MNIST."""
    return replace(mnist, train=mnist.train.take(np.arange(60)), test=mnist.test.take(np.arange(20)))


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory) -> lenscope.Run:
    """A finished run of two epochs on `tiny`; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return lenscope.train(tiny, out=out, epochs=2, batch_size=20, progress=False)
