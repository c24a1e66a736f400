from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest

from pombo.ops.simulator import PlanError, Simulator, Switches
from pombo.ops.simulator.steering import ROWS_A_PIECE

Post = Callable[..., Awaitable[httpx.Response]]


def track(message_id: str = "m", **changes: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u", "event": "E", "messageId": message_id, **changes}


async def test_events(post: Post, client: httpx.AsyncClient) -> None:
    """An event shows with its numbers, names, times and fate."""
    await post(track("a", timestamp="2026-11-21T18:00:00Z"), sentAt="2026-11-21T19:00:00Z")
    assert (await client.get("/_sim/events")).json() == [
        {
            "message_id": "a",
            "key": "key-1",
            "user": "u",
            "event": "E",
            "n": 1,
            "received_at": "2026-11-21T19:00:00.000Z",
            "fate": "kept",
            "type": "track",
            "timestamp": "2026-11-21T18:00:00.000Z",
            "original_timestamp": "2026-11-21T18:00:00Z",
            "sent_at": "2026-11-21T19:00:00Z",
            "request": 1,
        }
    ]


async def test_event_filters(post: Post, client: httpx.AsyncClient) -> None:
    """Events are found by key, by user or anonymousId, and by the number after which they came."""
    await post(track("1"), track("2", userId="v"), key="one")
    await post(track("3", userId=None, anonymousId="v"), track("4"), key="two")

    async def found(query: str) -> list[str]:
        return [row["message_id"] for row in (await client.get(f"/_sim/events{query}")).json()]

    assert await found("") == await found("?key=&user=&since=") == ["1", "2", "3", "4"]
    assert await found("?key=one") == ["1", "2"]
    assert await found("?user=v") == ["2", "3"]
    assert await found("?since=2") == ["3", "4"]
    assert await found("?key=two&user=v&since=1") == ["3"]
    assert await found("?since=99") == await found("?key=three") == []


async def test_filters_are_decoded(post: Post, client: httpx.AsyncClient) -> None:
    """Filters are percent-decoded."""
    await post(track(userId="joão & cia"))
    answer = await client.get("/_sim/events", params={"user": "joão & cia"})
    assert len(answer.json()) == 1


async def test_events_in_process(post: Post, client: httpx.AsyncClient, sim: Simulator) -> None:
    """The in-process API shows the same rows as the one over HTTP."""
    await post(track("a"), track("b", userId="v"))
    assert sim.events() == (await client.get("/_sim/events")).json()
    assert sim.events(key="key-1", user="v", since=1) == sim.events()[1:]
    assert sim.requests(ids=True) == (await client.get("/_sim/requests?ids=1")).json()
    assert sim.summary() == (await client.get("/_sim/summary")).json()


async def test_payloads(post: Post, client: httpx.AsyncClient) -> None:
    """Events come with their payload if asked, one nested too deeply to be written as null."""
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    await post(track("a", properties={"x": 1}), track("b", properties={"x": nested}))
    rows = (await client.get("/_sim/events?payload=1")).json()
    assert rows[0]["payload"]["properties"] == {"x": 1}
    assert rows[1]["payload"] is None
    assert "payload" not in (await client.get("/_sim/events?payload=0")).json()[0]


async def test_requests(post: Post, client: httpx.AsyncClient, sim: Simulator) -> None:
    """A request shows with its size, its times, what was planned for it and what came of it."""
    sim.set_plan([{"when": {"requests": 2}, "answer": {"status": 429, "delay_s": 1}}])
    await post(track("a"), track("b"))
    answer = await post(track("c"), headers={"X-Retry-Count": "3"})
    size = len(answer.request.content)
    first, second = (await client.get("/_sim/requests?ids=1")).json()
    assert (first["n"], first["status"], first["events"], first["message_ids"]) == (1, 200, 2, ["a", "b"])
    assert second == {
        "n": 2,
        "at": "2026-11-21T19:00:00.000Z",
        "monotonic": 1_000,
        "finished_at": "2026-11-21T19:00:01.000Z",
        "key": "key-1",
        "method": "POST",
        "path": "/v1/batch",
        "status": 429,
        "action": None,
        "rule": 1,
        "code": None,
        "events": 1,
        "bytes": size,
        "wire_bytes": size,
        "retry_count": 3,
        "message_ids": ["c"],
    }


async def test_requests_without_ids(post: Post, client: httpx.AsyncClient) -> None:
    """MessageIds come only if asked for, and steering is no request."""
    await post(track())
    rows = (await client.get("/_sim/requests")).json()
    assert [("message_ids" in row) for row in rows] == [False]


async def test_summary(post: Post, client: httpx.AsyncClient, sim: Simulator) -> None:
    """The summary counts events by fate and requests by status, strays by status alone."""
    sim.set_plan([{"when": {"requests": 3}, "answer": {"status": 503}}])
    for events in ([track("a"), track("a")], [track("b", event="")], [track("c")]):
        await post(*events)
    await client.get("/nowhere")
    assert (await client.get("/_sim/summary")).json() == {
        "events": 3,
        "requests": 3,
        "by_fate": {"kept": 1, "duplicate": 1, "event_not_defined": 1},
        "by_status": {"200": 2, "503": 1, "404": 1},
        "seed": 7,
    }


async def test_put_plan(post: Post, client: httpx.AsyncClient) -> None:
    """A plan that is put is obeyed from the next request on, and shows how often each rule fired."""
    rules = [{"when": {"key": "key-1"}, "answer": {"status": 503}, "times": 2}]
    assert (await client.put("/_sim/plan", json=rules)).json()["fired"] == [0]
    assert (await post(track())).status_code == 503
    shown = (await client.get("/_sim/plan")).json()
    assert shown == {
        "rules": [{"when": {"key": ["key-1"]}, "answer": {"status": 503}, "times": 2}],
        "fired": [1],
        "seed": 7,
    }


async def test_shown_plan_can_be_put(client: httpx.AsyncClient) -> None:
    """What a plan is shown as is a plan again."""
    rules = [
        {
            "when": {"requests": [2, None], "message_id": "m", "share": 0.5},
            "answer": {"action": "hang", "delay_s": 1},
        },
        {"when": {"requests": 4}, "answer": {"headers": {"Retry-After": 1}, "body": {"a": 1}}},
    ]
    shown = (await client.put("/_sim/plan", json=rules)).json()["rules"]
    assert (await client.put("/_sim/plan", json=shown)).json()["rules"] == shown


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (b"", "plan is not valid JSON: "),
        (b"[{]", "plan is not valid JSON: "),
        (b"{}", "a plan must be a list of rules, not {}"),
        (
            b'[{"answer": {}, "wen": 1}]',
            'plan rule 1: unknown key "wen" in the rule; allowed: when, answer, times',
        ),
    ],
)
async def test_bad_plan(client: httpx.AsyncClient, post: Post, plan: bytes, message: str) -> None:
    """A bad plan is 400 with the one line that says where, and the plan before stays."""
    await client.put("/_sim/plan", json=[{"answer": {"status": 418}}])
    answer = await client.put("/_sim/plan", content=plan)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["error"].startswith(message)
    assert (await post(track())).status_code == 418


@pytest.mark.parametrize("plan", ["[]", {}, [3]])
async def test_bad_plan_in_process(sim: Simulator, plan: Any) -> None:
    """In process a bad plan raises, and the plan before stays."""
    with pytest.raises(PlanError):
        sim.set_plan(plan)


async def test_empty_plan(client: httpx.AsyncClient, post: Post) -> None:
    """An empty plan takes all faults away."""
    await client.put("/_sim/plan", json=[{"answer": {"status": 500}}])
    await client.put("/_sim/plan", json=[])
    assert (await post(track())).status_code == 200


async def test_reset(client: httpx.AsyncClient, post: Post, sim: Simulator) -> None:
    """A reset forgets events, requests, numbers, remembered ids and the plan, and keeps the switches."""
    sim.set_switches(Switches(cors=False))
    sim.set_plan([{"when": {"requests": 2}, "answer": {"status": 500}}])
    await post(track())
    assert (await client.post("/_sim/reset")).json() == {"reset": True}
    assert (sim.events(), sim.requests(), sim.summary()["by_fate"]) == ([], [], {})
    assert [(await post(track(name))).status_code for name in ("m", "n")] == [200, 200]
    assert [(row["n"], row["fate"]) for row in sim.events()] == [(1, "kept"), (2, "kept")]
    assert [row["n"] for row in sim.requests()] == [1, 2]
    assert sim.switches.cors is False


async def test_switches(client: httpx.AsyncClient, sim: Simulator) -> None:
    """Switches are shown and put as an object; what it leaves out has its default."""
    sim.set_switches(Switches(cors=False))
    shown = (await client.put("/_sim/switches", json={"known_keys": ["k"], "event_limit": 10})).json()
    assert shown == (await client.get("/_sim/switches")).json()
    assert sim.switches == Switches(known_keys=frozenset({"k"}), event_limit=10)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        (b'{"corse": true}', 'unknown switch "corse"; allowed: body_limit, '),
        (b'{"cors": 1}', "switch cors: "),
        (b'{"oversized_item": "shrug"}', "switch oversized_item: "),
        (b"[]", "switches must be a JSON object: "),
        (b"{", "switches must be a JSON object: "),
    ],
)
async def test_bad_switches(client: httpx.AsyncClient, sim: Simulator, switches: bytes, message: str) -> None:
    """Bad switches are 400 with one line that names the switch, and those before stay."""
    answer = await client.put("/_sim/switches", content=switches)
    assert (answer.status_code, answer.json()["error"].startswith(message)) == (400, True)
    assert sim.switches == Switches()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/_sim/events?usr=u", 'unknown parameter "usr"; allowed: key, user, since, payload'),
        ("/_sim/events?since=x", 'parameter since must be a whole number, not "x"'),
        ("/_sim/events?since=-1", 'parameter since must be a whole number, not "-1"'),
        ("/_sim/requests?id=1", 'unknown parameter "id"; allowed: ids'),
    ],
)
async def test_bad_query(client: httpx.AsyncClient, path: str, message: str) -> None:
    """A mistaken filter is refused instead of finding everything."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


async def test_unknown_steering_path(client: httpx.AsyncClient) -> None:
    """An unknown path under /_sim/ is 404 and names those that there are."""
    answer = await client.get("/_sim/evnts")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("no /_sim/evnts here; there are: /_sim/events, /_sim/requests")


async def test_wrong_steering_method(client: httpx.AsyncClient) -> None:
    """A wrong method is 405 and names the right ones."""
    answer = await client.post("/_sim/plan", json=[])
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")


@pytest.mark.parametrize("count", [0, 1, ROWS_A_PIECE - 1, ROWS_A_PIECE, ROWS_A_PIECE + 1, 2 * ROWS_A_PIECE])
async def test_pieces(post: Post, client: httpx.AsyncClient, count: int) -> None:
    """A long answer that is written in pieces is one JSON list."""
    await post(*[track(str(n)) for n in range(count)])
    assert [row["message_id"] for row in (await client.get("/_sim/events")).json()] == [str(n) for n in range(count)]


async def test_a_hundred_thousand_events(client: httpx.AsyncClient, sim: Simulator) -> None:
    """100,000 events are taken and shown, each once and in order."""
    for start in range(0, 100_000, 2_500):
        body = {"batch": [track(str(n)) for n in range(start, start + 2_500)], "writeKey": "k"}
        await client.post("/v1/batch", content=orjson.dumps(body))
    rows = orjson.loads((await client.get("/_sim/events")).content)
    assert [row["message_id"] for row in rows] == [str(n) for n in range(100_000)]
    assert [row["n"] for row in rows[-2:]] == [99_999, 100_000]
    assert sim.summary()["by_fate"] == {"kept": 100_000}
    assert len(sim.events(since=99_999)) == 1
