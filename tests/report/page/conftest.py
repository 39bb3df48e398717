"""A headless browser, which has to be there in CI, and pages opened in it from disk."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from report.page.made import compared_runs, hostile_runs, page_of

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window (`OPO_EVAL_CHROMIUM` names another program)."""
    path = os.environ.get("OPO_EVAL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        message = "no Chromium on the path: install it (Debian: chromium) or set OPO_EVAL_CHROMIUM"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Open a file with a fragment; afterwards nothing may have been asked for or complained of."""
    asked: list[str] = []
    said: list[str] = []
    contexts = []

    def open_page(path: Path, fragment: str = "", **options: Any) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1400, "height": 1000}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(f"{path.as_uri()}{fragment}")
        page.wait_for_function("performance.getEntriesByName('usable').length > 0")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:image/svg+xml;base64,"))] == []


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two checkpoints whose responses try everything; see `made.py`."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "report.html"
    path.write_bytes(page_of(compared_runs(hostile_runs(folder)), figures=True))
    return path
