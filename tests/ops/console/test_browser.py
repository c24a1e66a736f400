"""The console in a real browser: looks, keys, live figures, and no complaint of the browser's."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from redis import Redis

from ops.console.rig import OPERATOR, Running, console
from ops.console.test_pages import KEYS, add, beat
from support.browser import PHONE, Tabs
from support.pagechecks import CONTRASTS, too_wide
from support.servers import running as server_running
from support.servers import scratch

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDTHS = (320, 360, 400, 768, 861, 1024, 1280, 1920)


@pytest.fixture
def installation(redis_url: str, sync_redis: Redis, kept: None) -> Redis:
    """Two sources, one parked, with events in their ledgers, and a worker."""
    add(redis_url, "bot", "a-source-with-a-rather-long-name-as-some-have")
    beat(sync_redis, in_flight=3, memory=60_000_000, takeovers=0, started="2026-01-02T03:04:05+00:00")
    sync_redis.hset(KEYS.of("bot").flow, mapping={"parked": "Segment answered 401: the write key is refused"})
    sync_redis.hset(KEYS.of("bot").ledger, mapping={"accepted": 7, "queued": 7, "accepted:track": 7})
    return sync_redis


async def open_page(tab: Tabs, running: Running, path: str = "/", **options: Any) -> Page:
    """A page of the console; htmx and the stream keep the network busy, so that nobody waits for its silence."""
    page = await tab(**options)
    await page.goto(f"{running.url}{path}")
    return page


async def test_the_overview_says_what_is_wrong(tab: Tabs, local: Running, installation: Redis) -> None:
    """Heading, problem, act and title within a look, and charts that are drawn."""
    page = await open_page(tab, local)
    await expect(page.get_by_role("heading", level=1)).to_have_text("1 source needs you")
    told = "bot — parked: Segment answered 401: the write key is refused"
    await expect(page.locator(".problem").first).to_contain_text(told)
    await expect(page).to_have_title("(1) Overview · pombo")
    await expect(page.locator(".chart canvas")).to_have_count(3)
    await expect(page.locator("#timeline svg")).to_contain_text("bot")


async def test_figures_move_by_themselves(tab: Tabs, local: Running, installation: Redis) -> None:
    """A tick brings what changed, without a reload; what has the focus keeps it."""
    page = await open_page(tab, local)
    await page.evaluate("window.mark = 1")
    await page.locator(".problem button").first.focus()
    installation.hset(KEYS.of("bot").ledger, mapping={"accepted": 1007, "queued": 1007})
    await expect(page.locator(".equation")).to_contain_text("1,007", timeout=15_000)
    assert "BUTTON" == await page.evaluate("document.activeElement.nodeName")
    installation.hdel(KEYS.of("bot").flow, "parked")
    await expect(page.get_by_role("heading", level=1)).to_have_text("All well", timeout=15_000)
    await expect(page.locator("#light .words")).to_have_text("All well")
    assert 1 == await page.evaluate("window.mark")


async def test_the_span_of_the_charts_can_be_chosen(tab: Tabs, local: Running, installation: Redis) -> None:
    """A day instead of a quarter of an hour; a line can be hidden."""
    page = await open_page(tab, local)
    await expect(page.locator(".chart canvas")).to_have_count(3)
    async with page.expect_response(lambda answer: "span=24h" in answer.url):
        await page.get_by_role("button", name="24 h").click()
    await expect(page.get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")
    line = page.locator("[data-toggle=delivered]")
    await line.click()
    await expect(line).to_have_attribute("aria-pressed", "false")


async def test_a_chart_says_when_its_values_were(tab: Tabs, local: Running, installation: Redis) -> None:
    """Under the pointer the legend has the values of that moment, and the moment; without it the latest, and none."""
    page = await open_page(tab, local)
    await expect(page.locator(".chart canvas")).to_have_count(3)
    when = page.locator("section[aria-label=Flow] [data-at]")
    await expect(when).to_have_text("")
    await page.locator("[data-chart=flow] .u-over").hover()
    await expect(when).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))


async def test_a_link_to_a_part_leads_to_its_first_field(tab: Tabs, local: Running, installation: Redis) -> None:
    """Who is told to rotate the key can type it, from another page and from the same one."""
    page = await open_page(tab, local)
    for _ in range(2):
        await page.get_by_role("link", name="Rotate the key").click()
        await expect(page.get_by_label("New write key")).to_be_focused()
        await expect(page.get_by_label("New write key")).to_be_in_viewport()


async def test_a_page_that_could_not_be_made_comes_by_itself(tab: Tabs) -> None:
    """While Redis is away an error's page says so; when it is back the page is there, without a press."""
    tab.expected = ("503",)
    with (
        scratch() as folder,
        server_running(folder / "s") as server,
        console(f"redis://127.0.0.1:{server.port}/0") as running,
    ):
        server.kill()
        page = await open_page(tab, running, "/trail")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Service Unavailable")
        await expect(page.locator("#light .foremost")).to_have_text("Redis is away")
        server.restart()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Trail")
        await page.context.close()


async def test_any_freshness_can_be_drawn(tab: Tabs, local: Running, installation: Redis) -> None:
    """The scale may begin anywhere: its foot is rounded, as the library would count from 0.0096 without end."""
    page = await tab()
    p50 = 0.0

    async def doctored(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        told |= {"p50": [p50 for _ in told["at"]], "p99": [2 * p50 for _ in told["at"]]}
        await route.fulfill(response=answer, json=told)

    await page.route("**/overview/history*", doctored)
    for p50 in (0.0143, 0.0146, 0.0149, 0.145, 0.0009, 0.001, 1.45, 40.0, 1500.0):
        await page.goto(local.url)
        words = f"{p50 * 1000:.0f} ms" if p50 < 0.0995 else ""
        await expect(page.locator("[data-value=p50]")).to_contain_text(words or re.compile(r"\d (s|min)"))
        await expect(page.locator("[data-chart=fresh] canvas")).to_have_count(1)


async def test_keys_lead_everywhere(tab: Tabs, local: Running, installation: Redis) -> None:
    """G and a letter to the pages, ? to the help, / to the search, Esc out of a dialog, Tab first to the skip link."""
    page = await open_page(tab, local)
    await page.keyboard.press("Tab")
    assert "Skip to the content" == await page.evaluate("document.activeElement.textContent")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("g")
    await page.keyboard.press("w")
    await page.wait_for_url(f"{local.url}/workers")  # And its scripts, which listen to keys.
    await page.keyboard.press("g")
    await page.keyboard.press("t")
    await page.wait_for_url(f"{local.url}/trail")
    await page.keyboard.press("/")
    assert "q" == await page.evaluate("document.activeElement.name")
    await page.keyboard.type("g w?")  # What is typed into a field is text.
    await expect(page).to_have_url(f"{local.url}/trail")


async def test_a_theme_is_kept(tab: Tabs, local: Running, installation: Redis) -> None:
    """The system's until another is chosen; then on every page, before the first paint."""
    page = await open_page(tab, local, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.keyboard.press("t")
    dark = await page.evaluate(ground)
    assert light != dark
    await page.goto(f"{local.url}/workers")
    assert dark == await page.evaluate(ground)
    await page.get_by_role("button", name="Dark theme").click()
    assert light == await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    assert dark == await page.evaluate(ground)


async def test_times_are_the_viewers(tab: Tabs, local: Running, installation: Redis) -> None:
    """Relative, and exact in the viewer's zone on hover."""
    page = await open_page(tab, local, "/workers")
    started = page.locator("time").first
    await expect(started).to_have_attribute("title", "2 Jan 2026, 00:04:05 (America/Sao_Paulo)")
    assert (await started.inner_text()).endswith(" ago")


async def test_a_login_by_hand(tab: Tabs, guarded: Running, installation: Redis) -> None:
    """A wrong token is refused with words, the right one leads to where one wanted to be, and out again."""
    tab.expected = ("401",)
    page = await open_page(tab, guarded, "/workers")
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("This token opens nothing here")
    await page.get_by_label("Token").fill(OPERATOR)
    await page.get_by_label("Your name").fill("Ana")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{guarded.url}/workers")
    await expect(page.locator(".who")).to_contain_text("Ana")
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(f"{guarded.url}/login")


async def test_a_forged_token_is_refused_in_a_browser(tab: Tabs, local: Running, installation: Redis) -> None:
    """Htmx sends the page's token; with another one the console changes nothing, and a toast says why."""
    tab.expected = ("403",)
    page = await open_page(tab, local)
    await page.evaluate("document.body.setAttribute('hx-headers', '{\"X-CSRF-Token\": \"forged\"}')")
    await page.evaluate("htmx.ajax('POST', '/logout', {swap: 'none'})")
    await expect(page.locator(".toast")).to_contain_text("no valid CSRF token")


async def test_inline_code_does_not_run(tab: Tabs, local: Running, installation: Redis) -> None:
    """If somebody got a script into a page, the policy would stop it."""
    tab.expected = ("Content Security Policy", "404")
    page = await open_page(tab, local)
    await page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s)"
    )
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.evil = 1\">')")
    assert None is await page.evaluate("window.evil ?? null")
    assert tab.troubles


@pytest.mark.parametrize("path", ["/", "/workers", "/trail", "/nowhere"])
async def test_pages_fit_every_width(tab: Tabs, local: Running, installation: Redis, path: str) -> None:
    """From a small phone to a wide screen nothing has to be scrolled sideways but tables."""
    tab.expected = ("404",)
    page = await open_page(tab, local, path, size=PHONE)
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        assert [] == await too_wide(page), width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/workers", "/trail"])
async def test_text_can_be_read(tab: Tabs, local: Running, installation: Redis, path: str, scheme: str) -> None:
    """Every text has a contrast of 4.5:1 with what is behind it, as WCAG's AA wants it (3:1 where it is large)."""
    page = await open_page(tab, local, path, color_scheme=scheme)
    await expect(page.locator("h1")).to_be_visible()
    assert [] == await page.evaluate(CONTRASTS)


async def test_a_copied_command_is_told(tab: Tabs, local: Running, installation: Redis) -> None:
    """The remedy is in the clipboard, and a toast shows it."""
    page = await open_page(tab, local, permissions=["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy the command pombo sources rotate-key bot").click()
    await expect(page.locator(".toast")).to_contain_text("Copied: pombo sources rotate-key bot --write-key -")
    assert "pombo sources rotate-key bot --write-key -" == await page.evaluate("navigator.clipboard.readText()")
