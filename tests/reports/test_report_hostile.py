"""Whatever a class, a data set, a run, a setting or a message is called, the page shows it and does nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope
from hostile_strings import STRINGS
from lenscope.data.dataset import Dataset, Splits
from lenscope.runs.files.manifest import Manifest, fingerprint
from lenscope.runs.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 50
OWN = "meta, script, style, base, link, img, iframe, object, embed, form, video, source, animate, foreignObject"


def named(strings: tuple[str, ...]) -> Splits:
    """A set of two images a class whose every name is hostile."""
    draw = np.random.default_rng(len(strings[0]))
    labels = np.repeat(np.arange(len(strings)), 2).astype(np.uint8)
    images = draw.integers(0, 256, (len(labels), 1, 32, 32), dtype=np.uint8)
    part = Dataset(images, labels, strings, strings[0], source=strings[1], licence=strings[2])
    return Splits(part, test=part)


def hostile_run(strings: tuple[str, ...], out: Path) -> lenscope.Run:
    """A run in a directory, with facts and a state, that have such names, as nobody's manifest would refuse them."""
    path = out / strings[3].replace("/", "∕")[:80]
    run = lenscope.train(named(strings), out=path, epochs=1, batch_size=20, progress=False)
    environment = {
        **run.environment,
        "processor": strings[4],
        "packages": {strings[5]: strings[6]},
        strings[7]: strings[8],
    }
    manifest, content = run.committed, json.dumps(environment).encode()
    (path / "environment.json").write_bytes(content)
    static = manifest.static | {"environment.json": fingerprint(content)}
    (path / "manifest.json").write_bytes(Manifest(static, manifest.appended).to_json())
    status = json.loads((path / "status.json").read_text()) | {"state": "failed", "why": strings[9]}
    (path / "status.json").write_text(json.dumps(status))
    return open_run(path)


def assert_harmless(visit, path: Path, strings: tuple[str, ...]) -> None:
    with visit(path) as page:
        assert page.evaluate("window.pwned") is None
        assert page.evaluate(f"document.querySelectorAll('{OWN}').length") == 7
        if "mistakes" in page.content():
            for button in page.locator(".confusion button").all()[:3]:
                button.click()
        assert page.evaluate("window.pwned") is None
        assert page.locator("h1").inner_text().strip() != ""
        shown = page.evaluate("[...document.querySelectorAll('.confusion tbody th')].map(cell => cell.textContent)")
        assert shown == list(strings)


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_names_are_shown_and_do_nothing(visit, tmp_path, first) -> None:
    chunks = [STRINGS[start : start + CHUNK] for start in range(0, len(STRINGS), CHUNK)]
    assert sum(map(len, chunks)) == 500
    for number, strings in enumerate(chunks[:1] if first == 0 else chunks[1:]):
        run = hostile_run(strings, tmp_path / str(number))
        path = lenscope.report(run, data=named(strings), out=tmp_path / f"{number}.html")
        assert_harmless(visit, path, strings)


def test_hostile_names_in_a_comparison_do_nothing(visit, tmp_path) -> None:
    runs = [hostile_run(STRINGS[start : start + CHUNK], tmp_path / str(start)) for start in (0, CHUNK)]
    path = lenscope.report(*runs, out=tmp_path / "both.html")
    with visit(path) as page:
        assert page.evaluate("window.pwned") is None
        assert page.evaluate(f"document.querySelectorAll('{OWN}').length") == 7
