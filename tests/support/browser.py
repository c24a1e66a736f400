"""A real browser for tests: Debian's Chromium, driven by Playwright.

Such tests are asynchronous and share the session's event loop, as the browser does: their module says
`pytestmark = pytest.mark.asyncio(loop_scope="session")`. (Playwright's blocking interface would leave a running loop in
the thread of all other tests.) A test that uses `tab` fails when the page logs an error, throws, or does what its
content security policy forbids. On a machine without Chromium such tests are skipped; in CI they fail.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize, async_playwright, expect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 780}
WAIT_MS = 20_000
ZONE = "America/Sao_Paulo"


def found_program() -> str | None:
    """The browser of this machine, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tabs:
    """Opens pages, and keeps what went wrong on them."""

    def __init__(self, browser: Browser, stack: AsyncExitStack) -> None:
        self._browser, self._stack = browser, stack
        self.troubles: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of errors that belong to the test: a page that is not found logs one."""

    async def __call__(self, size: ViewportSize | None = None, **options: Any) -> Page:
        """A page with cookies and storage of its own; options as Playwright's `new_context` has them."""
        told: dict[str, Any] = {"viewport": size or DESK, "timezone_id": ZONE, "locale": "en-GB"} | options
        context = await self._browser.new_context(**told)
        self._stack.push_async_callback(context.close)
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(f"thrown: {error.stack or error}"))
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.troubles.append(f"{message.text} ({message.location.get('url', '')})")

    def unexpected(self) -> list[str]:
        """What went wrong and was not expected."""
        return [one for one in self.troubles if not any(part in one for part in self.expected)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    program = found_program()
    if program is None:
        what = "no browser to test with: apt install chromium"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[Tabs]:
    """Opens pages; what they complain of fails the test."""
    async with AsyncExitStack() as stack:
        tabs = Tabs(browser, stack)
        yield tabs
        assert [] == tabs.unexpected(), "\n".join(tabs.unexpected())
