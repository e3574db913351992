"""A real browser that opens files from the disk, and what it must never say or ask for."""

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


@pytest.fixture
def visit(browser: Browser) -> Callable[..., object]:
    """Open a file, and fail at the end if the page said anything on the console or asked for anything but itself."""

    @contextmanager
    def opened(path: Path, width: int = 1440, **options: object) -> Iterator[Page]:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page, heard = context.new_page(), list[str]()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.on(
            "request",
            lambda request: (
                None
                if request.url == path.as_uri() or request.url.startswith("blob:")
                else heard.append(f"request: {request.url[:80]}")
            ),
        )
        page.goto(path.as_uri())
        yield page
        context.close()
        assert heard == []

    return opened


@pytest.fixture(scope="session")
def report(tiny_run, tiny) -> Path:
    """The report of `tiny_run`."""
    return lenscope.report(tiny_run, out=tiny_run.path.parent / "tiny.html", data=tiny).resolve()
