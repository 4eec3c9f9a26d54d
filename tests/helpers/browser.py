"""Chromium for the tests of pages; they are skipped, with the reason, where it or a package is missing."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FLAGS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]
PATIENCE = 60_000  # milliseconds for whatever a page does: the machine may be busy


def find_missing(*packages: str, chromium: bool = True) -> str:
    """Return what is not installed and how to install it, or ''."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        return f'not installed: {", ".join(missing)} (pip install -r requirements/browser.txt)'
    has_chromium = not chromium or find_chromium()
    return '' if has_chromium else 'Chromium is not installed (apt-get install chromium)'


def find_chromium() -> str | None:
    """Return the path of Chromium."""
    paths = map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))
    return next(filter(None, paths), None)


@pytest.fixture(scope='module')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator['BrowserContext']:
    """Start Chromium with an empty profile; ``browser.new_page()`` opens a page."""
    if reason := find_missing('playwright'):
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp('profile'),
            executable_path=find_chromium(),
            args=FLAGS,
            accept_downloads=True,
            viewport=dict(width=1280, height=900),
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


def watch_requests(page: 'Page') -> list[str]:
    """Return a list that fills with the hosts, other than this machine, that a page asks for anything."""
    hosts: list[str] = []

    def note(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in ('http', 'https', 'ws', 'wss') and parts.hostname != '127.0.0.1':
            hosts.append(parts.netloc)

    page.on('request', lambda request: note(request.url))
    page.on('websocket', lambda socket: note(socket.url))
    return hosts


def save_download(page: 'Page', button: str, folder: Path) -> Path:
    """Click a button that downloads, and return the file."""
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
