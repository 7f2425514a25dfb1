"""Drives a page of `ltdd-tui serve` in headless Chromium: playwright with the browser that is installed."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
COLORED = re.compile(r"38;2;(\d+;\d+;\d+)[^m]*m[▀▄]")


def chromium() -> str | None:
    """The path of the installed Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """A page of the app. `sent` is all terminal output it received: its canvas holds no text that could be queried."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self.sent = ""
        self.requested: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._take))
        page.on("request", lambda request: self.requested.append(request.url))

    def _take(self, frame: bytes | str) -> None:
        self.sent += frame.decode(errors="replace") if isinstance(frame, bytes) else ""

    def open(self, address: str) -> None:
        """Opens the address and waits until the app has painted; nothing is clicked."""
        self._page.goto(address)
        self._page.wait_for_selector("body.-first-byte", state="attached", timeout=60_000)

    def press(self, *keys: str) -> None:
        """Types keys by the browser's names: a, Enter, F2, Control+q."""
        for key in keys:
            self._page.keyboard.press(key)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Returns once the app has sent `text`."""
        self._wait(lambda: text in CONTROLS.sub("", self.sent), repr(text), seconds)

    def wait_for_images(self, colors: int, seconds: float = 60) -> None:
        """Returns once half-cells of that many colors were sent."""
        self._wait(lambda: len(set(COLORED.findall(self.sent))) >= colors, f"images in {colors} colors", seconds)

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, f"no {what}; last output: {CONTROLS.sub('', self.sent)[-2000:]}"
            self._page.wait_for_timeout(100)

    def saves(self, key: str, path: Path) -> str:
        """Presses a key, waits for the file that the browser then saves, keeps it at `path` and returns its name."""
        with self._page.expect_download(timeout=30_000) as waiting:
            self.press(key)
        waiting.value.save_as(path)
        name: str = waiting.value.suggested_filename
        return name

    def picture(self, path: Path) -> None:
        """Saves a screenshot."""
        self._page.screenshot(path=str(path))


@contextlib.contextmanager
def new_page(width: int = 1280, height: int = 860) -> Iterator[Any]:
    """An empty page of a fresh browser that can reach this machine only, as playwright has it."""
    from playwright.sync_api import sync_playwright

    # Root has no sandbox, and a machine without a GPU draws in software.
    flags = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=flags)
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


@contextlib.contextmanager
def opened(width: int = 1280, height: int = 860) -> Iterator[Page]:
    """A page for the app."""
    with new_page(width, height) as page:
        yield Page(page)
