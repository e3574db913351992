"""A real browser that opens files from disk; console messages and requests fail the test."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import lenscope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium found; on Debian: apt-get install chromium (or name one in LENSCOPE_CHROMIUM)"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("LENSCOPE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visit(browser: Browser) -> Callable[..., object]:
    """Open a file; fail afterwards if the page wrote to the console, opened a dialog or requested another file."""

    @contextmanager
    def opened(path: Path, width: int = 1440, **options: object) -> Iterator[Page]:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page, found = context.new_page(), list[str]()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: found.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: found.append(f"error: {error}"))
        page.on("dialog", lambda dialog: found.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.on(
            "request",
            lambda request: (
                None
                if request.url == path.as_uri() or request.url.startswith("blob:")
                else found.append(f"request: {request.url[:80]}")
            ),
        )
        page.goto(path.as_uri())
        yield page
        context.close()
        assert found == []

    return opened


@pytest.fixture(scope="session")
def report(tiny_run, tiny) -> Path:
    """The report of `tiny_run`."""
    return lenscope.report(tiny_run, out=tiny_run.path.parent / "tiny.html", data=tiny).resolve()
