"""What the tests of commands share: an empty directory, a call in this process, and a run to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

import lenscope
from lenscope.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Done(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The only line on stderr that does not report progress."""
        [line] = [line for line in self.err.splitlines() if not line.startswith("reading ")]
        return line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(capsys) -> Callable[..., Done]:
    """Call a command in this process."""

    def call(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def digits_run(digits, tmp_path_factory) -> lenscope.Run:
    """A finished run of two epochs on `digits`; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    return lenscope.train(digits, out=out, epochs=2, batch_size=20, progress=False)


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Which of pictures and report were made, in order; neither is drawn, which would take seconds."""
    made: list[str] = []
    monkeypatch.setattr("lenscope.api.plot", lambda *_, **__: made.append("pictures") or {})
    monkeypatch.setattr("lenscope.api.report", lambda run, **_: made.append("report") or run.path / "report.html")
    return made
