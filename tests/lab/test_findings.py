"""The docs quote the findings of the tables in docs/findings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lenscope.lab.directory import rebuild

DOCS = Path(__file__).parents[2] / "docs"
EXPERIMENTS = sorted((DOCS / "findings").glob("*/experiment.toml"))
assert EXPERIMENTS


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_the_docs_quote_the_findings_of_the_tables(tmp_path, experiment):
    for file in (experiment, *experiment.parent.glob("*.csv")):
        shutil.copy(file, tmp_path)
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    for conclusion in rebuild(tmp_path).conclusions:
        assert f"- {conclusion}\n" in text
    for picture in (experiment.parent / "plots").iterdir():
        assert (tmp_path / "plots" / picture.name).exists()
