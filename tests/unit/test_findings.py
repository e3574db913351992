"""The findings that the docs tell are those of the tables beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lenscope.lab.experiment import rebuild

DOCS = Path(__file__).parents[2] / "docs"
EXPERIMENTS = sorted((DOCS / "findings").glob("*/experiment.toml"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_the_docs_quote_what_the_tables_tell(tmp_path, experiment):
    for file in (experiment, *experiment.parent.glob("*.csv")):
        shutil.copy(file, tmp_path)
    told = (DOCS / "findings.md").read_text(encoding="utf-8")
    for conclusion in rebuild(tmp_path).conclusions:
        assert f"- {conclusion}\n" in told
    for picture in (experiment.parent / "plots").iterdir():
        assert (tmp_path / "plots" / picture.name).exists()


def test_there_are_findings():
    assert EXPERIMENTS
