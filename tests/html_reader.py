"""Pages of reports, read by tests."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Reader(HTMLParser):
    """Checks that tags are closed, and keeps what a reader without eyes or mouse depends on."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def browse(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium; what its console says is in ``stderr``."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={page.parent}/profile"]
    return subprocess.run(
        [str(CHROMIUM), *flags, *words, page.as_uri()], capture_output=True, text=True, timeout=240
    )
