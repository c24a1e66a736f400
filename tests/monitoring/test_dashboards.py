"""Grafana's dashboards, as files that Grafana can read and people find their way in."""

import re
from typing import Any

import pytest
from starlette.routing import Route

from pombo.ops.console.pages import pages
from pombo.ops.dashboards import DASHBOARDS as DESCRIBED
from pombo.ops.dashboards import dumped
from support.monitoring import DASHBOARDS, dashboards, panels

FILES = dashboards()
UNITS = {"s", "bytes", "percentunit", "eps", "reqps", "ops", "short"}
ORDER = ("well", "Flow", "Backlog", "Segment", "Batches", "Retries", "Dead", "Workers", "Redis", "Producers", "Jobs")
"""Of rows on every dashboard, from the promise down to its parts."""


def test_files_are_what_the_description_says() -> None:
    """`make docs` would change nothing."""
    assert {name: dumped(one) for name, one in DESCRIBED.items()} == {
        name: (DASHBOARDS / name).read_text("utf-8") for name in FILES
    }


def test_identities_are_their_own() -> None:
    """No two dashboards share a uid or title, no two panels of one an id."""
    for key in ("uid", "title"):
        assert len(FILES) == len({dashboard[key] for dashboard in FILES.values()})
    for dashboard in FILES.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", FILES)
def test_panels_explain_themselves(name: str) -> None:
    """Each has a title of its own, a description, a unit, and queries with different names."""
    shown = panels(FILES[name])
    assert len(shown) == len({panel["title"] for panel in shown})
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert legends
        assert len(legends) == len(set(legends))


@pytest.mark.parametrize("name", FILES)
def test_panels_lie_side_by_side(name: str) -> None:
    """They cover the page's 24 columns without gaps, and none lies on another."""
    covered = set()
    for panel in FILES[name]["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in covered, panel["title"]
                covered.add((x, y))
    rows = {y for _, y in covered}
    assert covered == {(x, y) for x in range(24) for y in range(len(rows))}


@pytest.mark.parametrize("name", FILES)
def test_rows_are_in_order(name: str) -> None:
    """Promise first, then flow, backlog, Segment, and what it all runs on."""
    titles = [panel["title"] for panel in FILES[name]["panels"] if panel["type"] == "row"]
    places = [next(at for at, word in enumerate(ORDER) if word in title) for title in titles]
    assert sorted(set(places)) == places


@pytest.mark.parametrize("name", FILES)
def test_dashboards_link_to_each_other(name: str) -> None:
    """Each leads to the others, the console and the runbook; what a link needs is a variable or a uid that there is."""
    dashboard = FILES[name]
    urls = {link["url"] for link in dashboard["links"]}
    others = {f"/d/{other['uid']}" for other in FILES.values() if other is not dashboard}
    assert others | {"${console}", "${runbook}"} == urls


@pytest.mark.parametrize("name", FILES)
def test_panels_lead_to_pages_of_the_console(name: str) -> None:
    """Each link to the console is a page that it has."""
    links = [link["url"] for panel in panels(FILES[name]) for link in panel.get("links", ())]
    paths = [url.removeprefix("${console}").replace("$source", "bot") for url in links]
    routes = [route for page in pages() for route in page.routes if isinstance(route, Route)]
    assert paths
    assert [] == [path for path in paths if not any(route.path_regex.match(path) for route in routes)]


@pytest.mark.parametrize("name", FILES)
def test_variables_are_declared(name: str) -> None:
    """Whatever a dashboard names with a dollar sign is one of its variables, or Grafana's own."""
    dashboard = FILES[name]
    own = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", str(_without_mappings(dashboard))))
    assert used - own <= {"__rate_interval", "__all", "__field", "__url_time_range"}
    assert {"datasource", "console", "runbook"} <= own
    assert own <= used | {"source"}
    assert all(
        target["datasource"]["uid"] == "${datasource}" for panel in panels(dashboard) for target in panel["targets"]
    )


def _without_mappings(dashboard: Any) -> Any:
    return {key: value for key, value in dashboard.items() if key != "uid"}
