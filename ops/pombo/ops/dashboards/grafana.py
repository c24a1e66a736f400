"""From a description of a dashboard to Grafana's JSON: rows of panels, left to right, top to bottom."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

Kind = Literal["timeseries", "stat", "table", "state-timeline"]
Json = dict[str, Any]

_SCHEMA: Final = 39
_COLUMNS: Final = 24
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_CONSOLE: Final = "http://127.0.0.1:8081"
_RUNBOOK: Final = "https://example.com/docs/runbook.md"
_LINKED: Final = (("Overview", "pombo-overview"), ("Source", "pombo-source"), ("Fleet and Redis", "pombo-fleet"))


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and how its series are called; `{{label}}` is replaced."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of some queries.

    `about` says what a reader should take from it; `unit` is Grafana's name of one (s, bytes, percentunit, eps,
    short). `steps` are values at which the colour turns, `words` what numbers stand for, `console` the console's page
    that shows the same in detail.
    """

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    steps: Sequence[tuple[float | None, str]] = ()
    words: Mapping[int, tuple[str, str]] | None = None
    console: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page. `sources` says whether one source is chosen, or any number of them, or none."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    sources: Literal["one", "many", "none"]


def dumped(dashboard: Dashboard) -> str:
    """The file's text."""
    return orjson.dumps(model(dashboard), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def model(dashboard: Dashboard) -> Json:
    """Grafana's model of a dashboard."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["pombo"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [*_links(dashboard)],
        "templating": {"list": [*_variables(dashboard)]},
        "panels": [*_laid_out(dashboard.rows)],
    }


def _links(dashboard: Dashboard) -> Iterator[Json]:
    for title, uid in _LINKED:
        if uid != dashboard.uid:
            yield _link(title, f"/d/{uid}", new_tab=False)
    yield _link("Console", "${console}", new_tab=True)
    yield _link("Runbook", "${runbook}", new_tab=True)


def _link(title: str, url: str, *, new_tab: bool) -> Json:
    return {
        "title": title, "url": url, "type": "link", "icon": "external link" if new_tab else "dashboard",
        "targetBlank": new_tab, "keepTime": not new_tab, "includeVars": not new_tab, "tags": [], "tooltip": title,
    }  # fmt: skip


def _variables(dashboard: Dashboard) -> Iterator[Json]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    if dashboard.sources != "none":
        many = dashboard.sources == "many"
        query = "label_values(pombo_queue_events, source)"
        yield {
            "name": "source", "label": "Source", "type": "query", "datasource": _DATASOURCE, "definition": query,
            "query": {"query": query, "refId": "sources"}, "refresh": 2, "sort": 1, "multi": many,
            "includeAll": many, "allValue": ".+" if many else None,
            "current": {"text": "All", "value": "$__all"} if many else {},
        }  # fmt: skip
    for name, label, value in (("console", "Console", _CONSOLE), ("runbook", "Runbook", _RUNBOOK)):
        yield {
            "name": name, "label": label, "type": "textbox", "query": value, "current": {"text": value, "value": value},
        }  # fmt: skip


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    number, y = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        y, x, height = y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            number += 1
            yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _panel(number: int, panel: Panel, place: Json) -> Json:
    made: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "targets": [_target(at, query, panel.kind) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.console is not None:
        url = "${console}" + panel.console
        made["links"] = [{"title": "In the console", "url": url, "targetBlank": True}]
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True, "__name__": True, "alertstate": True, "job": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def _target(at: int, query: Query, kind: Kind) -> Json:
    instant = kind in {"stat", "table"}
    return {
        "refId": chr(ord("A") + at), "datasource": _DATASOURCE, "expr": query.expr,
        "legendFormat": query.legend or "__auto", "instant": instant, "range": not instant,
        "format": "table" if kind == "table" else "time_series",
    }  # fmt: skip


def _field(panel: Panel) -> Json:
    steps = panel.steps or ((None, "green"),)
    field: Json = {
        "unit": panel.unit,
        "noValue": "–",
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]},
    }
    if any(query.legend == "{{source}}" for query in panel.queries):
        url = "/d/pombo-source?var-source=${__field.labels.source}&${__url_time_range}"
        field["links"] = [{"title": "${__field.labels.source}", "url": url}]
    if panel.unit == "percentunit":
        field |= {"max": 1}
    if panel.words is not None:
        options = {str(value): {"text": text, "color": colour} for value, (text, colour) in panel.words.items()}
        field["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        mode = "normal" if panel.stacked else "none"
        field["custom"] = {
            "lineWidth": 1, "fillOpacity": 30 if panel.stacked else 5, "showPoints": "never", "spanNulls": False,
            "stacking": {"mode": mode, "group": "A"}, "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }  # fmt: skip
    return field


_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[Mapping[Kind, Json]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _LAST, "colorMode": "background", "graphMode": "none", "textMode": "auto",
        "justifyMode": "auto",
    },
    "table": {"showHeader": True},
    "state-timeline": {"showValue": "auto", "mergeValues": True, "rowHeight": 0.8},
}  # fmt: skip
