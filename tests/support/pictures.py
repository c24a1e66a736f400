"""Pictures of the console for docs/img, of a live installation: `python -m support.pictures [MINUTES]`.

For so many minutes (15, what the charts show) three bots talk through real processes, and the simulated Segment has a
bad day; then a browser plays the story that docs/tour.md tells, and takes its pictures on the way. What the charts show
did happen; only the names of the machine, of its user and of the folder are replaced.
"""

import asyncio
import getpass
import math
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
from playwright.async_api import Browser, Page, Route, ViewportSize, async_playwright, expect

from pombo.ops.dialogues import events, generate
from pombo.producer import Producer
from pombo.shared.settings import Settings
from support.browser import FLAGS, PROGRAMS, found_program
from support.installation import Installation, until
from support.png import squeezed

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img"
MINUTES = 15.0
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
MOST_BYTES = 150_000
ZONE = "Europe/Lisbon"
HOST = "relay-1"
TOKEN = "a-token-for-pictures"
WAIT_MS = 90_000
ICONS = "() => document.querySelector('[data-theme-toggle] use').getBBox().width > 0"
"""Whether symbols are drawn, which come a moment after the page."""

SUPPORT, CAMPAIGN, ORDERS = "support_bot", "campaign_bot", "orders_bot"
KEYS = {name: f"{name}Key".ljust(32, "0") for name in (SUPPORT, CAMPAIGN, ORDERS)}
WRONG_KEY = "wrongKey".ljust(32, "0")
REFUSED_KEY = {
    "when": {"key": WRONG_KEY},
    "answer": {"status": 401, "body": {"success": False, "message": "Invalid write key"}},
}  # fmt: skip
BUSY = {"when": {"key": KEYS[CAMPAIGN]}, "answer": {"status": 429, "headers": {"Retry-After": 45}}, "times": 1}
BUSIER = {**BUSY, "answer": {"status": 429, "headers": {"Retry-After": 900}}}
DOWN = {"when": {"key": KEYS[SUPPORT]}, "answer": {"status": 503}}
STRANGE = "Order Placed"


class Talker(threading.Thread):
    """A bot that has conversations, more of them now than then, and sends an event twice now and then."""

    def __init__(self, source: str, home: Path, rate: float) -> None:
        super().__init__(name=source, daemon=True)
        self._source, self._rate = source, rate
        self._settings = Settings(home=home, _env_file=None)  # type: ignore[call-arg]
        self._told_to_end = threading.Event()
        self._orders = count(1)

    def run(self) -> None:
        """Talk until told to stop."""
        rng = Random(self._source)
        with Producer(self._source, settings=self._settings, when_full="block") as producer:
            for dialogue in generate(len(self._source)):
                for event in [*events(dialogue), self._order(dialogue["conversation_id"], rng)]:
                    tide = 1 + 0.35 * math.sin(time.monotonic() / 70) + rng.uniform(-0.25, 0.25)
                    if self._told_to_end.wait(1 / (self._rate * tide)):
                        return
                    for _ in range(1 + (rng.random() < 0.05)):
                        producer.enqueue(event)

    def _order(self, user: str, rng: Random) -> dict[str, Any]:
        number = next(self._orders)
        told = {"order": f"2026-{number:05}", "total": "R$ 42,90" if number % 3 else rng.randint(900, 9000) / 100}
        return {
            "type": "track", "event": STRANGE, "userId": user, "messageId": f"{self._source}-order-{number}",
            "properties": told,
        }  # fmt: skip

    def stop(self) -> None:
        """Have it end, and wait for that."""
        self._told_to_end.set()
        self.join()


def strange(source: str, numbers: range) -> dict[str, Any]:
    """The rule by which Segment refuses those of a bot's orders whose total is a text."""
    ids = [f"{source}-order-{number}" for number in numbers if number % 3]
    body = {"success": False, "message": "properties.total must be a number"}
    return {"when": {"message_id": ids}, "answer": {"status": 400, "body": body}}


class Camera:
    """Takes pictures of a page, in both schemes."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def take(self, name: str, *, schemes: tuple[str, ...] = ("light", "dark")) -> None:
        """Write NAME-light.png and NAME-dark.png, or NAME.png of one scheme.

        Raises:
            ValueError: a picture is too large for a repository.
        """
        taken: dict[Path, bytes] = {}
        if await self._page.locator("[data-theme-toggle]").count():
            await self._page.wait_for_function(ICONS)
        for scheme in schemes:
            await self._page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            await self._page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            path = FOLDER / (f"{name}-{scheme}.png" if len(schemes) > 1 else f"{name}.png")
            taken[path] = await self._page.screenshot(animations="disabled", caret="hide")
        await self._page.emulate_media(color_scheme="light")
        for path, picture in taken.items():
            made = await asyncio.to_thread(squeezed, picture)
            if len(made) > MOST_BYTES:
                raise ValueError(f"{path.name} has {len(made):,} bytes")
            path.write_bytes(made)
            print(f"{path.name}: {len(made):,} bytes", flush=True)


async def disguise(route: Route) -> None:
    """Let a page call this machine, its user and the folder by other names."""
    if route.request.resource_type not in {"document", "xhr", "fetch"} or "stream" in route.request.url:
        return await route.continue_()
    answer = await route.fetch(max_redirects=0)
    if "html" not in answer.headers.get("content-type", ""):
        return await route.fulfill(response=answer)
    text = re.sub(rf"\b{re.escape(socket.gethostname())}\b", HOST, await answer.text())
    text = text.replace(f"{getpass.getuser()}@", "ops@")
    text = re.sub(r"/\S+?pombo-pictures-\w+", "/var/lib/pombo", text)
    return await route.fulfill(response=answer, body=text)


class Story:
    """What an operator does, from a source with a wrong key to the last letter delivered; see docs/tour.md."""

    def __init__(self, here: Installation, url: str, browser: Browser, page: Page, talkers: dict[str, Talker]) -> None:
        self._here, self._url, self._browser, self._page, self._talkers = here, url, browser, page, talkers
        self._camera = Camera(page)

    async def go(self, path: str) -> None:
        await self._page.goto(f"{self._url}{path}")
        await expect(self._page.locator("h1")).to_be_visible()
        if await self._page.locator("#charts").count():
            await expect(self._page.locator(".chart canvas")).to_have_count(3)

    async def shown(self, path: str, name: str) -> None:
        await self.go(path)
        await self._camera.take(f"console-{name}")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        await asyncio.to_thread(until, condition, what, WAIT_MS / 1000)

    async def press(self, name: str) -> None:
        await self._page.get_by_role("button", name=name, exact=True).last.click()

    async def play(self) -> None:
        """All of it."""
        for chapter in (self.enter, self.add, self.look, self.repair, self.bury, self.mend, self.redrive, self.end):
            print(f"-- {chapter.__name__}", flush=True)
            await chapter()

    async def enter(self) -> None:
        await self.shown("/login", "login")
        await self._page.get_by_label("Token").fill(TOKEN)
        await self._page.get_by_label("Your name").fill("Ana")
        await self.press("Log in")
        await expect(self._page.locator("h1")).to_be_visible()

    async def add(self) -> None:
        self._here.segment.set_plan([REFUSED_KEY, BUSIER])
        await self.go("/sources/-/add")
        await self._page.get_by_label("Name").fill(ORDERS)
        await self._page.get_by_label("Write key").fill(WRONG_KEY)
        await self._page.get_by_label("Region").select_option("other")
        await self._page.get_by_label("Endpoint").fill(self._here.segment.url)
        await self.press("Add the source")
        await expect(self._page.locator("#intake-key")).to_be_visible()
        self.intake_key = await self._page.locator("#intake-key").inner_text()
        self._talkers[ORDERS] = Talker(ORDERS, self._here.home, 12)
        self._talkers[ORDERS].start()

    async def look(self) -> None:
        for name, state in ((CAMPAIGN, "held"), (ORDERS, "parked")):
            await self.go(f"/sources/{name}")
            await expect(self._page.locator(".page-head .badge").first).to_have_text(state, timeout=WAIT_MS)
        await self.until(lambda: self._here.ledger(ORDERS)["queued"] > 600, "backlog")
        print(self._here.cli("status", code=None), flush=True)
        await self.shown("/", "overview")
        await self.phone()
        await self.shown("/sources", "sources")
        await self.shown(f"/sources/{ORDERS}", "source")

    async def phone(self) -> None:
        """The overview, as a telephone shows it."""
        state = await self._page.context.storage_state()
        phone = await visitor(self._browser, viewport=PHONE, is_mobile=True, has_touch=True, storage_state=state)
        await phone.goto(self._url)
        await expect(phone.locator(".chart canvas").first).to_be_visible()
        await Camera(phone).take("console-phone")
        await phone.context.close()

    async def repair(self) -> None:
        self._here.segment.set_plan([strange(ORDERS, range(1, 120)), BUSIER])
        await self._page.get_by_label("New write key").fill(KEYS[ORDERS])
        await self.press("Rotate the write key")
        await expect(self._page.locator(".page-head .badge").first).to_have_text("active", timeout=WAIT_MS)
        await self.until(lambda: self._here.ledger(ORDERS)["queued"] < 50, "drained backlog")
        await self.go(f"/debugger?source={ORDERS}")
        await expect(self._page.locator("#light[data-severity=critical]")).to_have_count(0, timeout=WAIT_MS)
        await expect(self._page.locator("#tail-state .words")).to_have_text("Live", timeout=WAIT_MS)
        rows = self._page.locator("#tail tbody tr")
        await expect(rows.filter(has_text="delivered").nth(11)).to_be_visible(timeout=WAIT_MS)
        await expect(rows.filter(has_text="dead").first).to_be_visible(timeout=WAIT_MS)
        await self._camera.take("console-debugger")

    async def bury(self) -> None:
        gateway = await asyncio.to_thread(self._here.gateway)
        bad = {"type": "track", "event": "Order Refunded", "properties": {"order": "2026-00007", "total": 42.9}}
        good = [{**bad, "userId": f"customer-{number}", "messageId": f"refund-{number}"} for number in range(3)]
        body = orjson.dumps({"batch": [*good, {**bad, "messageId": "refund-7"}]})
        answer = httpx.post(f"{gateway.url}/v1/batch", content=body, auth=(self.intake_key, ""))
        print(answer.status_code, answer.text, flush=True)
        await self.until(lambda: self._here.ledger(ORDERS)["dead"] > 40, "dead letters")
        await self.shown("/dead", "dead")

    async def mend(self) -> None:
        await self.go(f"/dead?source={ORDERS}&reason=rejected_by_segment")
        await self._page.locator("form#letters tbody a.strong").last.click()
        await expect(self._page.get_by_text("What to do:")).to_be_visible()
        await self._camera.take("console-letter")
        await self.go(f"/dead?source={ORDERS}&message_id=refund-7")
        await self._page.locator("form#letters tbody a.strong").first.click()
        await self.press("Show values and edit")
        field = self._page.get_by_label("The rest of the event, as JSON")
        event = orjson.loads(await field.input_value())
        await field.fill(orjson.dumps({"userId": "customer-7", **event}, option=orjson.OPT_INDENT_2).decode())
        await self.press("Preview the change")
        await expect(self._page.locator(".diff")).to_be_visible()
        await self._page.locator("#payload").scroll_into_view_if_needed()
        await self._page.locator("#payload").evaluate("(one) => one.scrollIntoView()")
        await self._camera.take("tour-edit", schemes=("light",))
        await self.press("Edit and redrive")
        await expect(self._page.locator("#fate")).to_contain_text("delivered", ignore_case=True, timeout=WAIT_MS)
        await self._camera.take("tour-delivered", schemes=("light",))

    async def redrive(self) -> None:
        self._here.segment.set_plan([BUSIER])
        await self.move("Export…", "Export", f"/dead?source={SUPPORT}", "", ended=True)
        await self.move("Redrive…", "Redrive", f"/dead?source={SUPPORT}", "", ended=True)
        await self.move("Redrive…", "Redrive", f"/dead?source={ORDERS}", "2", ended=False)
        await self.until(lambda: self._here.ledger(ORDERS)["dead"] < 40, "progress")
        await self.shown("/jobs", "jobs")
        await self.go(await self._page.get_by_role("link", name="Redrive").first.get_attribute("href") or "")
        await self._camera.take("tour-job", schemes=("light",))

    async def move(self, button: str, act: str, path: str, rate: str, *, ended: bool) -> None:
        await self.go(path)
        await self._page.get_by_label("All that match").check()
        await self.press(button)
        dialog = self._page.locator("#act")
        await expect(dialog.locator(".dry-run")).to_be_visible()
        await dialog.get_by_label("At most so many a second").fill(rate)
        if rate:
            await self._camera.take("tour-confirm", schemes=("light",))
        await dialog.get_by_role("button", name=act, exact=True).click()
        await self._page.wait_for_url("**/jobs/*")
        if ended:
            await expect(self._page.get_by_text("Ended")).to_be_visible(timeout=WAIT_MS)

    async def end(self) -> None:
        await self.until(lambda: self._here.ledger(ORDERS)["dead"] == 0, "end of the redrive")
        await self.shown("/workers", "workers")
        await self.shown("/trail", "trail")
        self._here.segment.set_plan([])
        await self.go(f"/sources/{CAMPAIGN}")


async def bad_day(here: Installation, minutes: float) -> None:
    """Let happen what the charts are to show: an outage, a hold, and events that are refused."""
    died = strange(SUPPORT, range(40, 4000, 170))
    day = ((0.35, [died]), (0.07, [died, DOWN]), (0.2, [died]), (0.38, [died, BUSY]))
    for share, plan in day:
        here.segment.set_plan(plan)
        await asyncio.sleep(share * minutes * 60)


async def main(minutes: float) -> None:
    """Have the world live for some minutes, then take its pictures."""
    with tempfile.TemporaryDirectory(prefix="pombo-pictures-") as folder, Installation(Path(folder)) as here:
        for name in (SUPPORT, CAMPAIGN):
            here.add(name, KEYS[name])
        here.set_env(POMBO_METRICS_PORT="0", POMBO_EXPORT_DIR=str(Path(folder) / "exports"))
        here.workers(3)
        here.jobs()
        talkers = {name: Talker(name, here.home, rate) for name, rate in ((SUPPORT, 45), (CAMPAIGN, 25))}
        for talker in talkers.values():
            talker.start()
        try:
            await bad_day(here, minutes)
            await photographed(lambda browser: visit(browser, here, talkers))
        finally:
            for talker in talkers.values():
                talker.stop()


async def visitor(browser: Browser, **options: Any) -> Page:
    """A page of an operator in Lisbon."""
    context = await browser.new_context(timezone_id=ZONE, locale="en-GB", **options)
    context.set_default_timeout(WAIT_MS)
    await context.route("**/*", disguise)
    return await context.new_page()


async def visit(browser: Browser, here: Installation, talkers: dict[str, Talker]) -> None:
    """Play the story."""
    url = here.console(TOKEN)
    await Story(here, url, browser, await visitor(browser, viewport=DESK), talkers).play()


async def photographed(act: Callable[[Browser], Awaitable[None]]) -> None:
    """Run something with a browser."""
    program = found_program()
    if program is None:
        raise SystemExit(f"no browser to take pictures with: there is none of {', '.join(PROGRAMS)}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS, "--hide-scrollbars"])
        await act(browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
