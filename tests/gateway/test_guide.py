"""The guide to the gateway and the matrices of keys, held against its real routes and answers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.routing import Match, Route

import pombo.gateway.app
from gateway import test_auth, test_webhooks
from gateway.rig import Keyed, Running

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text("utf-8")
PACKAGE = Path(str(pombo.gateway.app.__file__)).parent


def answered() -> Iterator[tuple[int, str]]:
    """Status and code of every refusal that the code spells out."""
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in {"Refusal", "_refuse"}:
                words = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
                if len(words) == 2 and isinstance(words[0], int):
                    yield words[0], str(words[1])


def told() -> set[tuple[int, str]]:
    """Status and code of every row of the guide's tables."""
    rows = re.findall(r"^\| ([45]\d\d(?:, [45]\d\d)*) \| ([^|]*) \|", GUIDE, re.M)
    return {
        (int(status), code)
        for statuses, codes in rows
        for status in statuses.split(", ")
        for code in re.findall(r"`(\w+)`", codes)
    }


def routes(gateway: Running) -> list[Route]:
    """The routes of the running application."""
    app: Any = gateway.server.config.app
    return list(app.routes)


def test_every_code_is_told() -> None:
    """Each refusal stands in the guide, beside its status; a 500 is a bug, and said to be one."""
    found = set(answered()) - {(500, "internal_error")}
    assert len(found) > 20
    assert set() == found - told()
    assert "`internal_error`" in GUIDE


def test_every_route_is_told(gateway: Running, bot: Keyed) -> None:
    """The guide names each route; a list of its spellings begins as a group does."""
    paths = {route.path.rstrip("/") for route in routes(gateway)}
    assert len(paths) > 5
    for path in paths:
        assert path.replace("{call}", "{identify").partition("/{kind}")[0] in GUIDE, path


def test_every_route_that_takes_events_is_in_a_matrix(gateway: Running, bot: Keyed) -> None:
    """Each route to which events are posted is tried with right, wrong and missing keys, and another source's."""
    tried = [f"/v1/{call}" for call in test_auth.ROUTES] + test_webhooks.ROUTES
    open_to_all = {"/healthz", "/readyz", "/metrics"}

    def is_tried(route: Route) -> bool:
        scopes = ({"type": "http", "path": path, "method": "POST"} for path in tried)
        return any(route.matches(scope)[0] is not Match.NONE for scope in scopes)

    assert open_to_all == {
        route.path for route in routes(gateway) if not route.path.endswith("/") and not is_tried(route)
    }
