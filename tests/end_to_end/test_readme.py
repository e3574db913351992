"""Every command of the README runs, in small form; one without a rule in `tests/pages.py` fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import lenscope
from lenscope.cli import main
from pages import ROOT, commands, shorten

if TYPE_CHECKING:
    from pathlib import Path

README = commands("README.md")


def test_each_command_has_a_rule_and_each_target_of_make_exists() -> None:
    assert len(README) > 20
    assert all(shorten(command, {}) for command in README)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line for line in README if line.startswith("make ") and line.split()[1] not in targets] == []
    with pytest.raises(KeyError, match="unheard"):
        shorten("lenscope unheard --of", {})


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_each_command_runs(digits: str, digits_run: lenscope.Run, here: Path, tally, capsys, monkeypatch) -> None:
    from PIL import Image

    monkeypatch.setattr("webbrowser.open", lambda _address: True)
    Image.fromarray(lenscope.load("mnist").test.images[0, 0]).save("photo.png")
    assert main(shorten("lenscope train", {}).arguments) == 0  # as `make train` does
    names = {"RUN": str(digits_run.path), "DIGITS": digits, "path/to/folder": digits}
    for command in README:
        arguments, reason = shorten(command, names)
        if reason:
            tally(f"README: not run, {reason}: {command}")
            continue
        assert main(arguments) == 0, f"{command}\n{capsys.readouterr().err}"


@pytest.mark.slow
def test_the_python_example_runs(here: Path) -> None:
    [example] = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    small = example.replace("epochs=10", "epochs=1, train_images=100, progress=False")
    assert small != example
    exec(compile(small, "README.md", "exec"), {})  # noqa: S102
