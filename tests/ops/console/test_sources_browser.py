"""Sources and their debugger in a real browser, over a live worker and a simulated Segment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson
import pytest
from playwright.async_api import Page, ViewportSize, expect
from redis import Redis

from ops.console.rig import Running, console
from ops.console.stocked import KEY, add, aside, within
from pombo.producer import AsyncProducer
from pombo.shared import flow
from pombo.shared.connection import connect
from pombo.shared.keys import Keys
from pombo.shared.settings import Settings
from support.browser import PHONE, Tabs
from support.programs import SECRET, program
from support.servers import unix
from support.waiting import until

WRONG = "wrong" * 6
LONG_MS = 20_000

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Place:
    """A console, a worker that lives, and Segment."""

    console: Running
    server: str
    segment: str

    def add(self, name: str, key: str = KEY) -> None:
        """A source that sends to the simulator."""
        add(self.server, name, key, endpoint=self.segment, rate=0, partitions=2)

    def send(self, source: str, *message_ids: str, event: str = "Message Sent") -> None:
        """Send events as a bot does."""

        async def work() -> None:
            told: dict[str, Any] = {"redis_url": self.server, "secret_key": SECRET, "_env_file": None}
            async with AsyncProducer(source, settings=Settings(**told)) as producer:
                for one in message_ids:
                    await producer.track("customer-7", event, {"said": "a secret word"}, message_id=one)

        aside(work())


@contextmanager
def segment(folder: Path) -> Iterator[str]:
    """A simulator that refuses one write key."""
    with program("simulator", "--port", "0", folder=folder) as running:
        url = until(lambda: running.out.split()[-1] if running.out.endswith("\n") else "", "simulator")
        rule = {"when": {"key": WRONG}, "answer": {"status": 401, "body": {"success": False}}}
        urlopen(Request(f"{url}/_sim/plan", orjson.dumps([rule]), method="PUT")).close()
        yield url


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    with unix() as server, segment(folder / "segment") as url, console(server.url) as running:
        env = {"POMBO_REDIS_URL": server.url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0"}
        with program("worker", "--no-jobs", folder=folder / "worker", **env), connect(server.url) as redis:
            until(lambda: workers(redis), "worker in the fleet")
            yield Place(running, server.url, url)


def workers(redis: Redis) -> int:
    found: Any = redis.hlen(Keys().workers)
    return int(found)


async def opened(tab: Tabs, place: Place, path: str, **options: Any) -> Page:
    page = await tab(**options)
    await page.goto(f"{place.console.url}{path}")
    return page


async def test_a_source_is_added_in_the_browser(tab: Tabs, place: Place) -> None:
    """The form shows the endpoint once it is chosen, and leads to the intake key; the source's page leads on."""
    page = await opened(tab, place, "/sources")
    await page.get_by_role("link", name="Add a source").first.click()
    await page.get_by_label("Name").fill("added")
    await page.get_by_label("Write key").fill(KEY)
    await expect(page.get_by_label("Endpoint", exact=True)).to_be_hidden()
    await page.get_by_label("Region").select_option("other")
    await page.get_by_label("Endpoint", exact=True).fill(place.segment)
    await page.get_by_role("button", name="Add the source").click()
    await expect(page.locator("#intake-key")).to_contain_text("pik_")
    assert KEY not in await page.content()
    await page.get_by_role("link", name="Send a test event").click()
    await page.get_by_role("button", name="Send a test event").click()
    await expect(page.locator(".steps")).to_contain_text("Delivered after", timeout=LONG_MS)


async def test_a_source_is_paused_and_resumed(tab: Tabs, place: Place) -> None:
    """What is sent meanwhile waits, is seen to wait, and goes when it is resumed."""
    place.add("held-back")
    page = await opened(tab, place, "/sources/held-back")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".page-head .badge").first).to_have_text("paused")
    place.send("held-back", "m1", "m2")
    queued = page.locator(".tile", has_text="Queued").locator(".value")
    await expect(queued).to_have_text("2", timeout=LONG_MS)
    await page.locator(".page-head").get_by_role("button", name="Resume").click()
    await expect(page.locator(".page-head .badge").first).to_have_text("active")
    await expect(page.locator(".equation [data-key=delivered] .value")).to_have_text("2", timeout=LONG_MS)


async def test_a_wrong_key_is_rotated(tab: Tabs, place: Place) -> None:
    """A parked source says why, its action leads to the key, and with the right one all is delivered."""
    place.add("mistyped", WRONG)
    place.send("mistyped", "m3")
    page = await opened(tab, place, "/sources/mistyped")
    await expect(page.locator(".problem")).to_contain_text("the write key", timeout=LONG_MS)
    await page.get_by_role("link", name="Rotate the key").click()
    await expect(page).to_have_url(f"{place.console.url}/sources/mistyped#key")
    await page.get_by_label("New write key").fill(KEY)
    await page.get_by_role("button", name="Rotate the write key").click()
    await expect(page.locator(".flash")).to_contain_text("mistyped has a new write key")
    await expect(page.locator(".equation [data-key=delivered] .value")).to_have_text("1", timeout=LONG_MS)
    await expect(page.locator(".problem")).to_have_count(0, timeout=LONG_MS)
    assert KEY not in await page.content()


async def test_events_pass_before_ones_eyes(tab: Tabs, place: Place) -> None:
    """One row an event, with its way; its payload is masked until its values are asked for, and the trail says so."""
    place.add("watched")
    page = await opened(tab, place, "/debugger?source=watched")
    await expect(page.locator("#tail-state .words")).to_have_text("Live", timeout=LONG_MS)
    await expect(page.locator("#tail-none")).to_contain_text("Waiting for events")
    await tell(place, page)
    row = page.locator("#tail tbody tr").first
    await expect(row).to_contain_text("delivered after", timeout=LONG_MS)
    assert "customer-7" not in await page.content()
    await row.get_by_role("button").focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Event")
    await expect(dialog).to_contain_text("••• (text, 13)")
    await expect(dialog).to_contain_text("Segment accepted it")
    await dialog.get_by_role("button", name="Reveal values").click()
    await expect(dialog).to_contain_text("a secret word")
    await page.keyboard.press("Escape")
    await expect(row).to_contain_text("customer-7", timeout=LONG_MS)
    await page.get_by_role("button", name="Mask values").click()
    await expect(row).not_to_contain_text("customer-7")
    await page.goto(f"{place.console.url}/trail")
    await expect(page.locator("tbody tr").first).to_contain_text("debugger.reveal")


async def tell(place: Place, page: Page) -> None:
    """Send one event after the other until a worker has heard that somebody watches."""
    delivered = page.locator("#tail tbody tr", has_text="delivered")
    for number in range(100):
        place.send("watched", f"told-{number}")
        await page.wait_for_timeout(300)
        if await delivered.count():
            return
    raise AssertionError("no event was told")


async def test_what_waits_is_seen_filtered_and_paused(tab: Tabs, place: Place) -> None:
    """Of a paused source too; the fate filter and the search choose, and a paused table stands still."""
    place.add("waiting")
    within(place.server, lambda redis, _: pause(redis))
    place.send("waiting", "w1", "w2")
    place.send("waiting", "w3", event="Order Placed")
    page = await opened(tab, place, "/debugger?source=waiting")
    rows = page.locator("#tail tbody tr")
    await expect(rows).to_have_count(3, timeout=LONG_MS)
    await expect(page.locator("#tail-state .words")).to_have_text("waiting is paused: what it accepts waits")
    await page.get_by_role("button", name="dead", exact=True).click()
    await expect(rows).to_have_count(0)
    await expect(page.locator("#tail-none")).to_contain_text("None of 3 events seen is dead")
    await page.get_by_role("button", name="all", exact=True).click()
    await expect(rows).to_have_count(3)
    await page.keyboard.press("p")
    await expect(page.locator("#pause")).to_have_text("Continue")
    place.send("waiting", "w4")
    await expect(page.locator("#tail-state .counts")).to_contain_text("1 newer", timeout=LONG_MS)
    await expect(rows).to_have_count(3)
    await page.keyboard.press("p")
    await expect(rows).to_have_count(4)
    await page.get_by_label("Search").fill("order")
    await expect(rows).to_have_count(1, timeout=LONG_MS)
    assert "order" not in page.url.lower()


async def pause(redis: Any) -> None:
    await flow.pause(redis, Keys(), "waiting")


LONG = "n" * 60
"""As long as names may be, or nearly, and nowhere to be broken."""


@pytest.mark.parametrize("size", [PHONE, {"width": 768, "height": 900}])
async def test_pages_keep_within_their_width(tab: Tabs, place: Place, size: ViewportSize) -> None:
    """No page is wider than a phone; what is wider scrolls within itself."""
    place.console.clock.by += 3
    if "narrow" not in within(place.server, lambda _, registry: names(registry)):
        place.add("narrow")
        place.add(LONG)
    page = await tab(size)
    for path in (
        "/sources",
        "/sources/narrow",
        f"/sources/{LONG}",
        "/sources/-/add",
        "/debugger",
        "/debugger?source=narrow",
    ):
        await page.goto(f"{place.console.url}{path}")
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = await page.evaluate(wide)
        assert scroll <= client, path


async def names(registry: Any) -> list[str]:
    return [source.name for source in await registry.list()]
