"""Dead letters and jobs in a real browser: found, mended, redriven and seen delivered; a job cancelled."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from redis import Redis

from ops.console.letterbox import add, dead, letter, put
from ops.console.rig import OPERATOR, Running
from pombo.shared.deadletters import ALL
from pombo.worker.jobs import enqueue_redrive
from support.browser import PHONE, Tabs
from support.programs import SECRET, Program, program
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE_MS = 40_000


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    """The URL of a real simulator."""

    def address(running: Program) -> str:
        found = re.search(r"http://\S+", running.out if running.out.endswith("\n") else "")
        return found[0] if found else ""

    with program("simulator", "--port", "0", folder=tmp_path / "simulator") as running:
        yield until(lambda: address(running), "simulator")


@pytest.fixture
def fleet(redis_url: str, simulator: str, tmp_path: Path) -> Iterator[str]:
    """The name of a source that is delivered to the simulator by a real worker, which does jobs too."""
    add(redis_url, "bot", endpoint=simulator)
    env = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0"}
    env |= {"POMBO_HOME": str(tmp_path / "home"), "POMBO_EXPORT_DIR": str(tmp_path / "exports")}
    with program("worker", folder=tmp_path / "worker", **env):
        yield "bot"


@pytest_asyncio.fixture(loop_scope="session")
async def operator(tab: Tabs, guarded: Running) -> Page:
    """A page on which an operator is logged in."""
    return await entered(await tab(), guarded)


async def entered(page: Page, guarded: Running) -> Page:
    """Log in by the form."""
    await page.goto(f"{guarded.url}/login?next=/dead")
    await page.get_by_label("Token").fill(OPERATOR)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Dead letters")
    await page.wait_for_load_state()
    return page


async def test_a_letter_is_found_mended_redriven_and_delivered(
    redis_url: str, simulator: str, fleet: str, operator: Page, tab: Tabs
) -> None:
    """By filter, form and button alone; its page sees it delivered, and Segment got what was typed."""
    tab.expected = ("status of 422",)
    put(redis_url, letter("m1"), letter("m2", "invalid", event="Order", user="u2"), letter("m3"))
    page = operator
    await page.reload()
    await page.get_by_label("User").fill("u2")
    await page.get_by_label("User").press("Enter")
    await expect(page.locator("table.letters tbody tr")).to_have_count(1)
    await expect(page.locator("#matching")).to_contain_text("1 letter, 1 cannot be redriven")
    assert ("who=" in page.url, "u2" in page.url.partition("who=")[0]) == (True, False)
    await page.locator("table.letters tbody a").first.click()
    await page.get_by_role("button", name="Show values and edit").click()
    text = page.locator("textarea#event")
    await text.fill((await text.input_value()).replace('"Order"', '"Order Completed"').replace('"track"', '"dance"'))
    await page.get_by_role("button", name="Edit and redrive").click()
    await expect(page.locator("#event-error")).to_contain_text("type")
    await text.fill((await text.input_value()).replace('"dance"', '"track"'))
    await page.get_by_role("button", name="Preview the change").click()
    await expect(page.locator(".diff")).to_contain_text('"event": "Order Completed"')
    await page.get_by_role("button", name="Edit and redrive").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("No longer a dead letter")
    await expect(page.locator("#fate")).to_contain_text("Segment accepted it", timeout=PATIENCE_MS)
    await expect(page.locator(".panel-body").first).to_contain_text("Edited and redriven by operator")
    events = httpx.get(f"{simulator}/_sim/events").json()
    assert "Order Completed" in str(events)


async def test_ticked_letters_are_redriven_by_a_job(
    redis_url: str, sync_redis: Redis, fleet: str, guarded: Running, operator: Page
) -> None:
    """Buttons wait for ticks; the dialog counts; the job's page moves by itself to its end."""
    put(redis_url, *(letter(f"m{number}") for number in range(5)))
    page = operator
    await page.reload()
    redrive = page.locator("#letters button[value=redrive]")
    await expect(redrive).to_be_disabled()
    for box in (await page.locator("input[name=ids]").all())[:2]:
        await box.check()
    await expect(page.locator("#ticked")).to_have_text("2 ticked")
    await redrive.click()
    dialog = page.locator("#act")
    await expect(dialog.get_by_role("heading")).to_have_text("Redrive 2 dead letters?")
    await dialog.get_by_label("At most so many a second").fill("50")
    await dialog.get_by_role("button", name="Redrive").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Redrive of bot")
    await expect(page.locator(".outcome")).to_contain_text("2 dead letters redriven.", timeout=PATIENCE_MS)
    assert 3 == dead(sync_redis)


async def test_a_running_job_is_cancelled_with_a_question(
    redis_url: str, sync_redis: Redis, fleet: str, guarded: Running, operator: Page
) -> None:
    """The list shows that it runs, and its page that it ended early."""
    put(redis_url, *(letter(f"m{number}") for number in range(50)))
    enqueue_redrive(sync_redis, "bot", ALL, rate=1, total=50, namespace="pombo")
    page = operator
    await page.goto(f"{guarded.url}/jobs")
    await expect(page.locator("table.jobs")).to_contain_text("running", timeout=PATIENCE_MS)
    await page.locator("table.jobs a").first.click()
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("button", name="Cancel the job").click()
    await expect(page.locator(".outcome")).to_contain_text(re.compile("cancelled", re.I), timeout=PATIENCE_MS)
    await expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    assert 0 < dead(sync_redis)


async def test_a_group_is_discarded_from_a_phone(
    redis_url: str, sync_redis: Redis, fleet: str, guarded: Running, tab: Tabs
) -> None:
    """Nothing is wider than the screen, and the question fits on it."""
    put(redis_url, letter("m1", "invalid", event="W" * 90, answer="x" * 300), letter("m2"))
    page = await entered(await tab(size=PHONE, color_scheme="dark"), guarded)
    for path in ("/dead", "/dead/-/files", "/jobs"):
        await page.goto(f"{guarded.url}{path}")
        assert PHONE["width"] >= await page.evaluate("document.documentElement.scrollWidth")
    await page.goto(f"{guarded.url}/dead?reason=invalid")
    await page.get_by_label("All that match").check()
    await page.get_by_role("button", name="Discard…").click()
    await expect(page.locator("#act")).to_be_visible()
    box = await page.locator("#act").bounding_box()
    assert box is not None
    assert (True, True) == (0 <= box["x"], box["x"] + box["width"] <= PHONE["width"])
    await page.locator("#act").get_by_role("button", name="Discard for good").click()
    await expect(page.locator(".outcome")).to_contain_text("1 dead letter discarded", timeout=PATIENCE_MS)
    assert 1 == dead(sync_redis)


async def test_hostile_letters_do_nothing_in_a_browser(redis_url: str, guarded: Running, operator: Page) -> None:
    """Scripts in names, users and answers neither run nor break the page; the tab would have heard them."""
    add(redis_url, "bot")
    hostile = "\"><img src=x onerror='document.title=1'><script>document.title=2</script>"
    (letter_id,) = put(redis_url, letter(hostile, event=hostile, user=hostile, answer=hostile, status=400))
    page = operator
    await page.goto(f"{guarded.url}/dead/{letter_id}")
    await page.get_by_role("button", name="Show values and edit").click()
    await expect(page.locator("textarea#event")).to_have_value(re.compile("onerror"))
    await page.goto(f"{guarded.url}/dead")
    await expect(page.locator("table.letters")).to_contain_text("onerror")
    assert [0, "Dead letters · pombo"] == [await page.locator("main img").count(), await page.title()]


@pytest.mark.parametrize("path", ["/", "/sources", "/dead", "/workers", "/trail"])
async def test_long_texts_push_no_column_out_of_sight(
    redis_url: str, guarded: Running, operator: Page, path: str
) -> None:
    """On a laptop every table fits its panel, however long are the names of sources and events, and the answers."""
    name = "a-source-with-as-long-a-name-as-a-source-may-have-in-production-2"[:64]
    add(redis_url, name)
    long = letter("m" * 99, event="E" * 200, user="u" * 200, answer="no " * 400, status=400)
    put(redis_url, long, source=name)
    page = operator
    await page.goto(f"{guarded.url}{path}")
    cut = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"
    assert [] == await page.locator(".scroll").evaluate_all(cut)


async def test_letters_are_worked_on_by_keyboard(redis_url: str, guarded: Running, operator: Page) -> None:
    """A shortcut leads to the list, one to its search; a tick and the dialog need no mouse, and Escape closes it."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"))
    page = operator
    await page.keyboard.press("g")
    await page.keyboard.press("l")
    await expect(page.locator("table.letters tbody tr")).to_have_count(1)
    await page.wait_for_load_state()  # Its scripts listen to keys.
    await page.keyboard.press("/")
    assert "message_id" == await page.evaluate("document.activeElement.name")
    await page.locator("input[name=ids]").focus()
    await page.keyboard.press("Space")
    await page.locator("#letters button[value=export]").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#act")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#act")).to_be_hidden()
