"""A browser without a screen, in which tests read pages."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=20000")


def text_of(folder: Path, address: str, *words: str) -> str:
    """Open a page, with its scripts run and the browser's own files in `folder` -> its text, once it has these words.

    Skips the test where there is no browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser here to open pages with: none of {', '.join(BROWSERS)} is installed")
    command = [browser, *OPTIONS, f"--user-data-dir={folder}", "--dump-dom", address]
    deadline = time.monotonic() + 90
    while True:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)  # noqa: S603
        page = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", done.stdout, flags=re.DOTALL)
        text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
        if all(word in text for word in words) or time.monotonic() > deadline:
            return text
