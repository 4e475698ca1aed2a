"""A real Chromium, logged in to a real Airflow, that notices whatever a page does wrong."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 30_000
# Containers beside the tests come and go with network interfaces of their own; Chromium then ends what it reads, and reads again.
NOT_OURS = "ERR_NETWORK_CHANGED"


class Browser:
    """One window of a browser and what went wrong in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url, self.problems = page, url, []
        page.set_default_timeout(SECONDS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._asked)
        page.on("dialog", self._opened)

    def log_in(self, password: str) -> None:
        """Log in as people do."""
        self.page.goto(f"{self.url}/auth/login")
        self.page.locator("input[name=username]").fill("admin")
        self.page.locator("input[name=password]").fill(password)
        self.page.locator("button[type=submit]").click()
        self.page.wait_for_url(lambda now: "/auth/login" not in now)

    def open(self, path: str, title: str) -> Any:
        """Go to one of our pages and return it once everything on it was read."""
        self.page.goto(f"{self.url}{path}")
        shown = self.page.locator(f'[data-continuous-training="{title}"]')
        shown.wait_for()
        self.read()
        return shown

    def read(self) -> None:
        """Wait until nothing is read any more."""
        self.page.wait_for_function("!document.querySelector('[data-continuous-training] [aria-label=Loading]')")

    def keep(self, folder: Path, name: str, height: int = 900) -> None:
        """Keep a picture of what is shown now, or of its upper part."""
        self.page.mouse.move(0, 0)
        above = {"x": 0, "y": 0, "width": 1440, "height": height}
        self.page.screenshot(path=folder / f"{name}.png", animations="disabled", clip=above)

    def dark(self) -> None:
        """Show everything as people do who like it dark."""
        self.page.emulate_media(color_scheme="dark")
        self.page.evaluate("localStorage.setItem('theme', 'dark')")

    def _said(self, said: Any) -> None:
        if said.type == "error" and NOT_OURS not in said.text:
            self.problems.append(f"console: {said.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.problems.append(f"asked elsewhere: {request.url}")

    def _opened(self, dialog: Any) -> None:
        self.problems.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def browser(url: str) -> Iterator[Browser]:
    """Give a browser that is not logged in yet; skip where this machine has none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # in a container Chromium's own sandbox is not to be had, and it opens nothing but the Airflow of the test
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield Browser(started.new_page(viewport={"width": 1440, "height": 900}), url)
        finally:
            started.close()


def pictures(instead: Path) -> Path:
    """Return where pictures are kept: `CT_PICTURES`, or else the folder given."""
    folder = Path(os.environ.get("CT_PICTURES", instead)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
