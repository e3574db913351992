"""The documents name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = [ROOT / home for home in ("", "src/lenscope", "src/lenscope/native", "tests", "docs")]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_each_source_file_and_link_in_a_document_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+\.(?:py|md|js|cpp|hpp|yml))`", text)
    assert [name for name in named if not any((home / name).exists() for home in HOMES)] == []
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
