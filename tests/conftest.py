"""What many tests share: few threads, and a tiny experiment on real images."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

import lenscope
from lenscope.data.coloured import coloured

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.data.dataset import Splits

pytest_plugins = ["fixtures_browser", "fixtures_lab"]
settings.register_profile("untimed", deadline=None)  # how long a case takes is no matter of tests
settings.load_profile("untimed")
GOLDEN = Path(__file__).parent / "golden"
TALLY = pytest.StashKey[list[str]]()


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; read their diff then")


def pytest_configure(config):
    config.stash[TALLY] = []


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[TALLY]:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(config.stash[TALLY]))


@pytest.fixture
def tally(request) -> Callable[[str], None]:
    """Print a line on what a test counted below all tests; docs/reliability.md quotes those of `make torture`."""
    return request.config.stash[TALLY].append


def in_full(reduced: int, full: int) -> int:
    """How many cases a test of faults takes: few in CI, all with LENSCOPE_TORTURE=1, as `make torture` has it."""
    return full if os.environ.get("LENSCOPE_TORTURE") else reduced


@pytest.fixture
def golden(request) -> Callable[[str, str], None]:
    """Compare a text with a golden file, or write it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Two threads on a tiny network wait for each other longer than they work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c():
    """Python's own Ctrl-C, also where the tests run in the background of a shell that ignores it for them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    """The tests are of the CPU, also on a machine that has more."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


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


@pytest.fixture(scope="session")
def tiny_colour(tiny) -> Splits:
    """The same images tinted and on coloured noise."""
    train, test = (
        replace(part, images=coloured(part.images, place), name="colour", _resized={})
        for place, part in enumerate((tiny.train, tiny.test))
    )
    return replace(tiny, train=train, test=test)


@pytest.fixture(scope="session")
def colour_run(tiny_colour, tmp_path_factory) -> lenscope.Run:
    """A finished run of two epochs on `tiny_colour`; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "colour"
    return lenscope.train(tiny_colour, out=out, epochs=2, batch_size=20, learning_rate=1e-3, progress=False)


def plant_gradient(engine, name, change):
    """Let an engine find another gradient of one parameter than its own from now on."""
    parameter = dict(engine.network.named_parameters())[name]
    objective = getattr(engine, "_objective", engine)
    honest = objective.add_gradients

    def planted(*arguments):
        loss = honest(*arguments)
        parameter.grad.copy_(change(parameter.grad))
        return loss

    objective.add_gradients = planted
