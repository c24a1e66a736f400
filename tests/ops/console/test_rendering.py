"""Templates and their filters, and that no page needs what the policy forbids."""

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.console.rig import Running, bare
from pombo.ops.console import assets
from pombo.ops.console.assets import asset
from pombo.ops.console.pages import pages
from pombo.ops.console.rendering import FLASH, environment, there, url

TEMPLATES = sorted((Path(assets.FOLDER).parent / "templates").glob("*.html"))
SCRIPTS = sorted(assets.FOLDER.glob("*.js"))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def filtered(expression: str, **values: Any) -> str:
    """What a template makes of an expression."""
    return environment().from_string(f"{{{{ {expression} }}}}").render(now=NOW, **values)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1234567 | count", "1,234,567"),
        ("none | count", "–"),
        ("0.0032 | span", "3 ms"),
        ("0.25 | span", "0.2 s"),
        ("90 | span", "90 s"),
        ("1500000 | size", "1.5 MB"),
        ("at | ago", "5.0 s ago"),
        ("now | ago", "now"),
        ("later | ago", "in 2 min"),
        ("at | exact", "2026-01-02 03:04:00 UTC"),
        ("at | iso", "2026-01-02T03:04:00.000Z"),
    ],
)
def test_figures_are_written_for_people(expression: str, expected: str) -> None:
    """The same words as in the terminal."""
    at, later = NOW.replace(second=0), NOW.replace(minute=6)
    assert expected == filtered(expression, at=at, later=later)


def test_json_turns_nothing_around() -> None:
    """A mark that would turn the rest of a line is written as an escape: whoever reads it sees that it is there."""
    shown = filtered("value | json_marked", value={"event": "\u202egnp.exe", "שלום": 1})
    assert "\\u202egnp.exe" in shown
    assert "\u202e" not in shown
    assert "שלום" in shown


@pytest.mark.parametrize("name", ["console.css", "vendor/htmx.min.js"])
def test_assets_are_kept_in_the_version_that_is_here(local: Running, name: str) -> None:
    """During an upgrade a page of the new version asks the old one, whose answer is not to stay in any cache."""
    kept = {
        url: bare("GET", f"{local.url}{url}").headers["cache-control"]
        for url in (asset(name), f"/static/{name}?v=other")
    }
    assert ["public, max-age=31536000, immutable", "no-cache"] == [*kept.values()]


@pytest.mark.parametrize("told", [b"5", b"null", b"{}", b'["a"]', b'["a",{}]', b'["a",[]]', b"nonsense"])
def test_a_flash_of_somebody_elses_making_breaks_no_page(local: Running, told: bytes) -> None:
    """Another server on this host can set the cookie."""
    headers = {"Cookie": f"{FLASH}={base64.urlsafe_b64encode(told).decode()}", "Accept": "text/html"}
    assert 200 == bare("GET", f"{local.url}/workers", headers=headers).status_code


def test_json_is_marked_and_escaped() -> None:
    """Keys, texts and numbers have their colours, and nothing in them is markup."""
    shown = filtered("value | json_marked", value={"a<b>": ['<i>"x"', 1.5, None, True]})
    assert '<span class="k">&#34;a&lt;b&gt;&#34;</span>' in shown
    assert '<span class="s">&#34;&lt;i&gt;\\&#34;x\\&#34;&#34;</span>' in shown
    assert [f'<span class="n">{word}</span>' in shown for word in ("1.5", "null", "true")] == [True, True, True]
    assert "<i>" not in shown


def test_urls_leave_out_what_is_not_asked() -> None:
    """A filter that is empty is not in the address."""
    assert "/dead?source=a%26b&limit=0" == url("/dead", source="a&b", reason="", event=None, limit=0)
    assert "/dead" == url("/dead", source="")


@pytest.mark.parametrize(
    ("path", "expected"), [("/workers", True), ("/trail?q=x", True), ("/", True), ("/nowhere", False)]
)
def test_templates_know_which_pages_are_there(path: str, expected: bool) -> None:
    """A link to a page that this console lacks is not shown."""
    assert expected == there(path)


def test_pages_have_keys_of_their_own() -> None:
    """No two entries of the navigation share a letter, a place or an address."""
    entries = [page.nav for page in pages() if page.nav]
    for part in ("key", "path", "order", "title"):
        told = [getattr(entry, part) for entry in entries]
        assert sorted(set(told)) == sorted(told)
    symbols = (assets.FOLDER / "icons.svg").read_text()
    assert [] == [entry.icon for entry in entries if f'id="{entry.icon}"' not in symbols]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_code(template: Path) -> None:
    """The policy forbids inline scripts and styles; htmx may evaluate nothing."""
    source = template.read_text("utf-8")
    assert [] == re.findall(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:|hx-vals=.js:", source
    )


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_template_can_be_read(template: Path) -> None:
    """No syntax error waits for its page to be asked for."""
    environment().get_template(template.name)


def test_every_form_that_posts_carries_the_token() -> None:
    """The hidden field is in each, as forms work without scripts."""
    forms = [
        (template.name, form)
        for template in TEMPLATES
        for form in re.findall(r'<form[^>]*method="post".*?</form>', template.read_text("utf-8"), re.DOTALL)
    ]
    assert [] == [name for name, form in forms if "csrf_field()" not in form]
    assert len(forms) >= 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_evaluates_text(script: Path) -> None:
    """Nor writes what came from a server as markup."""
    assert [] == re.findall(
        r"\beval\(|new Function|\.innerHTML|\.outerHTML|document\.write|insertAdjacentHTML", script.read_text("utf-8")
    )


def test_vendored_files_say_what_they_are() -> None:
    """Each has its version and its licence beside it, and the version is that of the file."""
    folder = assets.FOLDER / "vendor"
    told = (folder / "VERSIONS").read_text("utf-8")
    assert "htmx 2.0.11" in told
    assert 'version:"2.0.11"' in (folder / "htmx.min.js").read_text("utf-8")
    assert "uPlot 1.6.32" in told
    assert "(v1.6.32)" in (folder / "uPlot.iife.min.js").read_text("utf-8")
    assert {"htmx.LICENSE", "uplot.LICENSE"} <= {path.name for path in folder.iterdir()}


def test_an_assets_address_changes_with_its_content(local: Any) -> None:
    """Browsers keep it for good under one address, and never an old one."""
    address = assets.asset("console.css")
    with local.client() as client:
        assert "immutable" in client.get(address).headers["cache-control"]
        assert "no-cache" == client.get(address.partition("?")[0]).headers["cache-control"]
    with pytest.raises(FileNotFoundError):
        assets.asset("nothing.css")
