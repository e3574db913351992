"""Fixtures that many packages use: threads and signals of the test process, a tiny experiment on real images."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read at numpy's import: two workers share the cores

import numpy as np
import pytest
from hypothesis import settings

import lenscope
from lenscope.data.formats.coloured import coloured

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.data.dataset import Splits

pytest_plugins = ["fixtures_browser", "fixtures_cli", "fixtures_lab"]
settings.register_profile("untimed", deadline=None)  # speed is measured in benchmarks/
settings.load_profile("untimed")
GOLDEN = Path(__file__).parent / "golden"
TALLY = pytest.StashKey[list[str]]()


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the golden files; read their diff afterwards"
    )


def pytest_configure(config):
    config.stash[TALLY] = []


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[TALLY]:
        terminalreporter.section("counts")
        terminalreporter.write_line("\n".join(config.stash[TALLY]))


@pytest.fixture
def tally(request) -> Callable[[str], None]:
    """Add a line of counts to the end of the report; docs/reliability.md quotes those of `make torture`."""
    return request.config.stash[TALLY].append


def in_full(reduced: int, full: int) -> int:
    """The number of cases of a test: `reduced`, or `full` with LENSCOPE_TORTURE=1, which `make torture` sets."""
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
def _test_process():
    """One thread and no GPU for PyTorch, and Python's own Ctrl-C, which a shell's background job ignores."""
    import torch

    torch.set_num_threads(1)  # on a tiny network two threads wait for each other longer than they compute
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: False)
        yield


@pytest.fixture(scope="session")
def mnist() -> Splits:
    """The whole bundled MNIST."""
    return lenscope.load("mnist")


@pytest.fixture(scope="session")
def tiny(mnist) -> Splits:
    """The first 60 training and 20 test images of MNIST."""
    return replace(mnist, train=mnist.train.take(np.arange(60)), test=mnist.test.take(np.arange(20)))


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory) -> lenscope.Run:
    """A finished run of two epochs on `tiny`; read-only."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return lenscope.train(tiny, out=out, epochs=2, batch_size=20, progress=False)


@pytest.fixture(scope="session")
def tiny_colour(tiny) -> Splits:
    """The images of `tiny`, tinted, on coloured noise."""
    train, test = (
        replace(part, images=coloured(part.images, place), name="colour")
        for place, part in enumerate((tiny.train, tiny.test))
    )
    return replace(tiny, train=train, test=test)


@pytest.fixture(scope="session")
def colour_run(tiny_colour, tmp_path_factory) -> lenscope.Run:
    """A finished run of two epochs on `tiny_colour`; read-only."""
    out = tmp_path_factory.mktemp("runs") / "colour"
    return lenscope.train(tiny_colour, out=out, epochs=2, batch_size=20, learning_rate=1e-3, progress=False)


def plant_gradient(engine, name, change):
    """Make a torch engine compute `change` of its own gradient for one parameter."""
    parameter = dict(engine.network.named_parameters())[name]
    objective = getattr(engine, "_objective", engine)
    honest = objective.add_gradients

    def planted(*arguments):
        loss = honest(*arguments)
        parameter.grad.copy_(change(parameter.grad))
        return loss

    objective.add_gradients = planted
