"""The console in a real browser, over a live installation under load: every page is walked, and what it offers is done.

Each test has a source of its own, so that they may run in any order.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from playwright.async_api import Page, expect

from support.browser import DESK, PHONE, Tabs, browser, tab
from support.installation import Installation, until
from support.pagechecks import CONTRASTS, NAMELESS, OUTLINE, too_wide

__all__ = ["browser", "tab"]

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

OPERATOR, VIEWER = "the-operators-token", "the-viewers-token"
STEADY = "support_bot"
"""The source that a bot feeds throughout."""
RATE = 100.0
SETTLE_MS = 30_000
"""What the machinery behind a page may take on a loaded machine of two cores."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = {
    "/": "o", "/sources": "s", "/debugger": "b", "/dead": "l", "/jobs": "j", "/workers": "w", "/trail": "t",
}  # fmt: skip
"""The pages of the navigation, and the key that follows `g`."""


class Live:
    """The installation, its console, and what a test does to both without a browser."""

    def __init__(self, installation: Installation) -> None:
        self.here = installation
        installation.add(STEADY, "k" * 32)
        installation.workers(2)
        installation.jobs()
        self.url = installation.console(OPERATOR, VIEWER)
        self.bot = installation.stream(STEADY, "steady", users=20, rate=RATE)

    def add(self, name: str) -> None:
        """A source of a test's own; there is none of this name yet."""
        self.here.add(name, f"{name}-key".ljust(32, "k"), partitions=2)

    def send(self, source: str, *events: dict[str, Any]) -> None:
        """Have a bot send these events to their end."""
        path = self.here.folder / f"{source}.events"
        path.write_bytes(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events))
        issued = self.here.bot(source, "play", str(path)).finish()
        assert {"accepted"} == {one.outcome for one in issued}

    def let_die(self, source: str, count: int) -> list[str]:
        """Have Segment refuse one event in four; the messageIds of `count` that die of it."""
        events = [event(f"{source}-{number:03}", f"u{number}", total="R$ 42,90") for number in range(4 * count)]
        ids = [one["messageId"] for one in events[::4]]
        answer = {"status": 400, "body": {"success": False, "message": "properties.total is not a number"}}
        self.here.segment.set_plan([{"when": {"message_id": ids}, "answer": answer}])
        self.send(source, *events)
        until(lambda: self.here.ledger(source)["dead"] == count, f"{count} dead letters of {source}")
        self.here.segment.set_plan([])
        return ids

    def delivered(self, message_id: str) -> dict[str, Any] | None:
        """What Segment kept of an event."""
        return self.here.segment.payloads().get(message_id)


def event(message_id: str, user: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": "Order Placed", "messageId": message_id, "userId": user, "properties": properties,
    }  # fmt: skip


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Server, simulator, two workers, jobs, a console with both tokens, and a bot that sends."""
    with Installation(tmp_path_factory.mktemp("console")) as installation:
        yield Live(installation)
        installation.audit()


async def enter(tab: Tabs, live: Live, path: str = "/", token: str = OPERATOR, **options: Any) -> Page:
    """Log in by hand, and be where one wanted to be."""
    page = await tab(**options)
    await page.goto(f"{live.url}{path}")
    await page.get_by_label("Token").fill(token)
    await page.get_by_label("Your name").fill("Ana" if token == OPERATOR else "Vera")
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{live.url}{path}")
    await page.wait_for_load_state()
    return page


async def test_every_page_is_alive(tab: Tabs, live: Live) -> None:
    """Light, dark and on a phone each page has its content, can be read and fits, and the browser complains of none."""
    live.add("walked")
    live.let_die("walked", 1)
    letter = live.here.dead("walked")[0]["id"]
    page = await enter(tab, live, reduced_motion="reduce")
    subpages = ["/sources/-/add", f"/sources/{STEADY}", f"/debugger?source={STEADY}", "/dead/-/files"]
    for path in (*PAGES, *subpages, f"/dead/{letter}", "/dead?source=walked"):
        await page.set_viewport_size(DESK)
        await page.goto(f"{live.url}{path}")
        await expect(page.locator("h1")).to_be_visible()
        assert {"headings": 1, "mains": 1, "language": "en", "twice": []} == await page.evaluate(OUTLINE), path
        assert [] == await page.evaluate(NAMELESS), path
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            assert [] == await page.evaluate(CONTRASTS), f"{path}, {scheme}"
        await page.set_viewport_size(PHONE)
        assert [] == await too_wide(page), path
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


async def test_the_charts_move(tab: Tabs, live: Live) -> None:
    """Between two looks the last point has other figures, and each canvas other pixels, without a reload."""
    page = await enter(tab, live)
    pixels = "() => [...document.querySelectorAll('.chart canvas')].map((one) => one.toDataURL())"
    await expect(page.locator(".chart canvas")).to_have_count(3)
    await expect(page.locator("[data-value=delivered]")).to_have_text(re.compile("[1-9]"), timeout=SETTLE_MS)
    async with page.expect_response(lambda answer: "/overview/history" in answer.url) as first:
        pass
    before, drawn = await (await first.value).json(), await page.evaluate(pixels)
    await page.evaluate("window.mark = 1")
    await page.wait_for_function(
        f"(before) => ({pixels})().every((one, at) => one !== before[at])", arg=drawn, timeout=SETTLE_MS
    )
    async with page.expect_response(lambda answer: "/overview/history" in answer.url) as second:
        pass
    after = await (await second.value).json()
    last = [(one["at"][-1], one["accepted"][-1]) for one in (before, after)]
    assert last[0] < last[1]
    assert sum(filter(None, after["delivered"])) > sum(filter(None, before["delivered"])) > 0
    assert 1 == await page.evaluate("window.mark")
    await expect(page.get_by_role("link", name="Delivered").locator(".value").first).not_to_have_text("–")


async def test_a_dead_letter_is_mended(tab: Tabs, live: Live) -> None:
    """It is found by its user, edited and redriven; Segment has the mended event under the id of old."""
    live.add("orders")
    ids = live.let_die("orders", 3)
    page = await enter(tab, live, "/dead")
    await page.get_by_label("Source").select_option("orders")
    await expect(page.locator("form#letters tbody tr")).to_have_count(3)
    await page.get_by_label("User").fill("u4")
    await page.keyboard.press("Enter")
    await expect(page.locator("form#letters tbody tr")).to_have_count(1)
    await expect(page.locator("form#letters")).to_contain_text("properties.total is not a number")
    await page.locator("form#letters tbody a.strong").click()
    await expect(page.locator("main")).to_contain_text("What to do:")
    await page.get_by_role("button", name="Show values and edit").click()
    field = page.get_by_label("The rest of the event, as JSON")
    await field.fill((await field.input_value()).replace('"R$ 42,90"', "42.9"))
    await page.get_by_role("button", name="Preview the change").click()
    await expect(page.locator(".diff")).to_contain_text("42.9")
    await page.get_by_role("button", name="Edit and redrive").click()
    await expect(page.locator("#fate")).to_contain_text("delivered", ignore_case=True, timeout=SETTLE_MS)
    kept = live.delivered(ids[1])
    assert kept is not None
    assert {"total": 42.9} == kept["properties"]
    await page.goto(f"{live.url}/trail?q=orders")
    await expect(page.locator("tbody tr", has_text="dead.edit")).to_contain_text("Ana")
    assert 2 == live.here.ledger("orders")["dead"]


async def test_a_job_is_cancelled(tab: Tabs, live: Live) -> None:
    """A slow redrive of all that match is stopped half way, the next takes the rest, and each letter arrives once."""
    live.add("mailing")
    ids = live.let_die("mailing", 12)
    page = await enter(tab, live, "/dead?source=mailing")
    await redrive_all(page, rate="0.2")
    await expect(page.get_by_role("status").filter(has_text="redriven")).to_be_visible(timeout=SETTLE_MS)
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("button", name="Cancel the job").click()
    await expect(page.locator(".outcome")).to_contain_text("cancelled", ignore_case=True, timeout=SETTLE_MS)
    await expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    left = live.here.ledger("mailing")["dead"]
    assert 0 < left < 12
    await page.goto(f"{live.url}/dead?source=mailing")
    await redrive_all(page)
    await expect(page.locator(".page-head .badge")).to_have_text("finished", timeout=SETTLE_MS)
    await expect(page.locator(".outcome")).to_contain_text(f"{left}")
    await page.goto(f"{live.url}/dead?source=mailing")
    await expect(page.get_by_text("No letter matches")).to_be_visible()
    until(lambda: live.here.ledger("mailing")["delivered"] == 48, "delivery of all")
    arrived = [row["message_id"] for row in live.here.segment.events() if row["message_id"] in ids]
    assert sorted(ids) == sorted(arrived)


async def redrive_all(page: Page, rate: str = "") -> None:
    """Have a job redrive all that match, and be on its page."""
    await page.get_by_label("All that match").check()
    await page.get_by_role("button", name="Redrive…").last.click()
    dialog = page.locator("#act")
    await expect(dialog.locator(".dry-run")).to_be_visible()
    await dialog.get_by_label("At most so many a second").fill(rate)
    await dialog.get_by_role("button", name="Redrive", exact=True).click()
    await page.wait_for_url("**/jobs/*")


async def test_a_source_is_paused_and_resumed(tab: Tabs, live: Live) -> None:
    """While it is paused its events wait and the overview's table says so; resumed, they are delivered."""
    live.add("survey")
    page = await enter(tab, live, "/sources/survey")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.locator(".page-head .badge").first).to_have_text("paused")
    live.send("survey", *(event(f"survey-{number}", f"u{number}") for number in range(50)))
    await expect(page.locator(".tile[data-key=Queued]")).to_contain_text("50", timeout=SETTLE_MS)
    row = page.locator("tr", has=page.get_by_role("link", name="survey", exact=True))
    await page.goto(f"{live.url}/sources")
    await expect(row.locator(".badge")).to_have_text("paused")
    assert [] == [one for one in live.here.segment.events() if one["message_id"].startswith("survey-")]
    await page.goto(f"{live.url}/sources/survey")
    await page.get_by_role("button", name="Resume", exact=True).click()
    await expect(page.locator(".page-head .badge").first).to_have_text("active")
    await expect(page.locator(".tile[data-key=Delivered]")).to_contain_text("50 ever", timeout=SETTLE_MS)
    assert live.delivered("survey-49")


async def test_a_source_is_added_and_tried(tab: Tabs, live: Live) -> None:
    """A form makes it, its intake key is shown once, and a test event goes the whole road; the debugger tells of it."""
    page = await enter(tab, live, "/sources")
    await page.get_by_role("link", name="Add a source").click()
    await page.get_by_label("Name").fill("added")
    await page.get_by_label("Write key").fill("a" * 32)
    await page.get_by_label("Region").select_option("other")
    await page.get_by_label("Endpoint").fill(live.here.segment.url)
    await page.get_by_role("button", name="Add the source").click()
    await expect(page.locator("#intake-key")).to_be_visible()
    await page.get_by_role("link", name="To the source").click()
    await page.get_by_role("button", name="Send a test event").click()
    await expect(page.locator("#trial")).to_contain_text("Accepted by Redis", timeout=SETTLE_MS)
    await expect(page.locator(".tile[data-key=Delivered]")).to_contain_text("1 ever", timeout=SETTLE_MS)
    assert ["pombo Test Event"] == [row["event"] for row in live.here.segment.events(key="a" * 32)]
    await page.goto(f"{live.url}/debugger?source={STEADY}")
    row = page.locator("#tail tbody tr", has_text="delivered").first
    await expect(row).to_contain_text("Message Sent", timeout=SETTLE_MS)
    assert "steady-u" not in await page.locator("#tail").inner_text()


async def test_who_may_not_is_refused(tab: Tabs, live: Live) -> None:
    """A wrong token opens nothing, a forged CSRF token changes nothing, and a viewer is offered nothing to change."""
    tab.expected = ("401", "403")
    page = await tab()
    await page.goto(f"{live.url}/sources")
    await page.get_by_label("Token").fill("guessed")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("This token opens nothing here")
    pause = f"htmx.ajax('POST', '/sources/{STEADY}/pause', {{swap: 'none'}})"

    page = await enter(tab, live)
    await page.evaluate("document.body.setAttribute('hx-headers', '{\"X-CSRF-Token\": \"forged\"}')")
    await page.evaluate(pause)
    await expect(page.locator(".toast")).to_contain_text("no valid CSRF token")

    page = await enter(tab, live, f"/sources/{STEADY}", VIEWER)
    await expect(page.get_by_role("button", name="Pause", exact=True)).to_have_count(0)
    await page.evaluate(pause)
    await expect(page.locator(".toast")).to_contain_text("viewers may look and change nothing")
    await page.goto(f"{live.url}/dead")
    await expect(page.get_by_role("button", name="Redrive…")).to_have_count(0)
    assert "active" == live.here.state(STEADY)


async def test_the_keyboard_is_enough(tab: Tabs, live: Live) -> None:
    """G and a letter lead to each page, ? tells of it, and Tab reaches each page's first action within reason."""
    page = await enter(tab, live)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    told = await page.locator("#help dt").all_inner_texts()
    assert {f"g {key}" for key in PAGES.values()} <= set(told)
    await page.keyboard.press("Escape")
    for path, key in PAGES.items():
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await expect(page).to_have_url(f"{live.url}{path}")
        await page.wait_for_load_state()
        await expect(page.locator("a[aria-current=page]")).to_have_attribute("href", path)
    await page.goto(f"{live.url}/sources/{STEADY}")
    for wanted in ("Skip to the content", "Pause", "Send a test event", "Rotate the write key", "Save"):
        assert await reached(page, wanted), wanted


async def reached(page: Page, words: str, most: int = 80) -> bool:
    """Press Tab until what is called so has the focus, and it is seen to have it."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        if words == (await page.evaluate("document.activeElement.textContent")).strip():
            return bool(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"))
    return False


async def test_nothing_secret_is_in_a_log(live: Live) -> None:
    """Neither token nor write key is in what the processes wrote."""
    for path in [*Path(live.here.folder).glob("*.log"), *Path(live.here.folder).glob("*.out")]:
        text = path.read_text("utf-8", "replace")
        assert [] == [secret for secret in (OPERATOR, VIEWER, "k" * 32) if secret in text], path.name
