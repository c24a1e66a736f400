"""The routes under `/_sim/`, by which a test or an operator looks into the simulator and steers it.

* `GET events?key=&user=&since=&payload=1` — what arrived, in order; `since` asks for numbers above it.
* `GET requests?ids=1` — every request outside `/_sim/`, in order.
* `GET summary` — counts by fate and by status, and the seed.
* `GET plan`, `PUT plan` — the rules and how often each fired; a list of rules replaces them.
* `GET switches`, `PUT switches` — an object; what it leaves out has its default.
* `POST reset` — forget requests, events, remembered ids and the plan; the switches stay.

Errors are `{"error": …}` in one line, with 400, 404 or 405.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from pombo.ops.simulator.edge import Edge
from pombo.ops.simulator.errors import SimulatorError
from pombo.ops.simulator.messages import Request, Response
from pombo.ops.simulator.plan import read_plan
from pombo.ops.simulator.rows import Payloads, event_row, request_row, select
from pombo.ops.simulator.switches import Switches

PREFIX = "/_sim/"
ROWS_A_PIECE = 1_000
"""Rows written at a time, so that a long answer leaves room for other connections."""

Handler = Callable[[Edge, Request], Response]


def steer(edge: Edge, request: Request) -> Response:
    """Answer a request under `/_sim/`."""
    methods = _ROUTES.get(request.path.removesuffix("/").removeprefix(PREFIX))
    if methods is None:
        known = ", ".join(PREFIX + name for name in _ROUTES)
        return _error(404, f"no {request.path} here; there are: {known}")
    handler = methods.get(request.method)
    if handler is None:
        allowed = ", ".join(methods)
        refusal = _error(405, f"{request.path} does not take {request.method}; allowed: {allowed}")
        return Response(405, refusal.body, {**refusal.headers, "Allow": allowed})
    try:
        return handler(edge, request)
    except SimulatorError as error:
        return _error(400, str(error))


def summary(edge: Edge) -> dict[str, Any]:
    """Count events by fate and requests by status; `none` counts those without an answer (yet)."""
    exchanges = edge.journal.exchanges
    statuses = Counter(str(exchange.status or "none") for exchange in exchanges)
    return {
        "events": len(edge.journal.arrivals),
        "requests": sum(exchange.n > 0 for exchange in exchanges),
        "by_fate": dict(edge.journal.fates),
        "by_status": dict(statuses),
        "seed": edge.seed,
    }


def _events(edge: Edge, request: Request) -> Response:
    query = _query(request, "key", "user", "since", "payload")
    found = select(edge.journal.arrivals, key=query.get("key"), user=query.get("user"), since=_number(query, "since"))
    show = Payloads(edge.switches).row if _flag(query, "payload") else event_row
    return Response(200, _array(show(arrival) for arrival in found))


def _requests(edge: Edge, request: Request) -> Response:
    ids = _flag(_query(request, "ids"), "ids")
    exchanges = edge.journal.exchanges
    return Response(200, _array(request_row(exchange, ids=ids) for exchange in islice(exchanges, len(exchanges))))


def _summary(edge: Edge, _: Request) -> Response:
    return _json(summary(edge))


def _plan(edge: Edge, _: Request) -> Response:
    rules = [rule.model_dump(mode="json", exclude_defaults=True) for rule in edge.plan.rules]
    return _json({"rules": rules, "fired": edge.plan.fired, "seed": edge.seed})


def _put_plan(edge: Edge, request: Request) -> Response:
    edge.set_plan(read_plan(request.body))
    return _plan(edge, request)


def _switches(edge: Edge, _: Request) -> Response:
    return _json(edge.switches.model_dump(mode="json"))


def _put_switches(edge: Edge, request: Request) -> Response:
    edge.set_switches(Switches.from_json(request.body))
    return _switches(edge, request)


def _reset(edge: Edge, _: Request) -> Response:
    edge.reset()
    return _json({"reset": True})


_ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "events": {"GET": _events},
    "requests": {"GET": _requests},
    "summary": {"GET": _summary},
    "plan": {"GET": _plan, "PUT": _put_plan},
    "switches": {"GET": _switches, "PUT": _put_switches},
    "reset": {"POST": _reset},
}


def _query(request: Request, *allowed: str) -> dict[str, str]:
    query = request.query
    unknown = next((name for name in query if name not in allowed), None)
    if unknown is not None:
        raise SimulatorError(f'unknown parameter "{unknown}"; allowed: {", ".join(allowed)}')
    return query


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise SimulatorError(f'parameter {name} must be a whole number, not "{text}"')
    return int(text)


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "") not in ("", "0", "false")


def _array(rows: Iterable[Any]) -> Iterator[bytes]:
    pending, lead = iter(rows), b"["
    while piece := list(islice(pending, ROWS_A_PIECE)):
        yield lead + _dumped(piece)[1:-1]
        lead = b","
    yield b"[]" if lead == b"[" else b"]"


def _dumped(piece: list[Any]) -> bytes:
    try:
        return orjson.dumps(piece)
    except TypeError:  # A payload nested deeper than orjson writes is shown as null.
        return orjson.dumps([_writable(row) for row in piece])


def _writable(row: dict[str, Any]) -> dict[str, Any]:
    try:
        orjson.dumps(row)
    except TypeError:
        return {**row, "payload": None}
    return row


def _json(document: object) -> Response:
    return Response(200, orjson.dumps(document))


def _error(status: int, message: str) -> Response:
    return Response(status, orjson.dumps({"error": message}))
