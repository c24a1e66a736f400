import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from pombo.ops.simulator import Simulator, Switches

Post = Callable[..., Awaitable[httpx.Response]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


def track(message_id: str = "m", **changes: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u", "event": "E", "messageId": message_id, **changes}


async def test_status(post: Post, sim: Simulator) -> None:
    """A planned error is answered in place of the 200, and nothing of its request is kept."""
    sim.set_plan([{"answer": {"status": 503}, "times": 1}])
    answer = await post(track())
    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert sim.events() == []
    assert (await post(track())).status_code == 200
    assert [row["fate"] for row in sim.events()] == ["kept"]


async def test_headers_and_body(post: Post, sim: Simulator) -> None:
    """A plan's headers and body are sent as written, over the usual ones whatever their case."""
    headers = {"Retry-After": 7, "date": "Sat, 21 Nov 2026 00:00:00 GMT", "content-TYPE": "text/html"}
    sim.set_plan([{"answer": {"status": 429, "headers": headers, "body": "slow down"}}])
    answer = await post(track())
    assert (answer.status_code, answer.content) == (429, b"slow down")
    assert [answer.headers.get_list(name) for name in headers] == [[str(value)] for value in headers.values()]


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        ("", b"", "text/plain; charset=utf-8"),
        ("olá", "olá".encode(), "text/plain; charset=utf-8"),
        ({"a": [1]}, b'{\n  "a": [\n    1\n  ]\n}', "application/json"),
        ([], b"[]", "application/json"),
    ],
)
async def test_bodies(post: Post, sim: Simulator, body: object, content: bytes, content_type: str) -> None:
    """A string is a plain text, an object or a list is JSON."""
    sim.set_plan([{"answer": {"status": 500, "body": body}}])
    answer = await post(track())
    assert (answer.content, answer.headers["content-type"]) == (content, content_type)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (
            "json",
            b'{\n  "success": false,\n  "message": "Too Many Requests",\n  "code": "too_many_requests"\n}',
        ),
        ("text", b"Too Many Requests"),
        ("empty", b""),
    ],
)
async def test_default_error_bodies(post: Post, sim: Simulator, kind: Any, content: bytes) -> None:
    """What an error says that Segment does not document is a switch."""
    sim.set_switches(Switches(error_body=kind))
    sim.set_plan([{"answer": {"status": 429}}])
    assert (await post(track())).content == content


async def test_status_without_a_name(post: Post, sim: Simulator) -> None:
    """Statuses that no standard names are sent too: 460 and 529 come from load balancers."""
    sim.set_plan([{"answer": {"status": 529}, "times": 1}, {"answer": {"status": 460}}])
    assert [(await post(track())).status_code for _ in range(2)] == [529, 460]


@pytest.mark.parametrize("status", [201, 202, 299])
async def test_other_success(post: Post, sim: Simulator, status: int) -> None:
    """Any planned 2xx accepts the request, with Segment's body."""
    sim.set_plan([{"answer": {"status": status}}])
    answer = await post(track())
    assert (answer.status_code, answer.json()) == (status, {"success": True})
    assert len(sim.events()) == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_no_content(post: Post, sim: Simulator, status: int) -> None:
    """A status that has no body is sent without one, whatever the plan says."""
    sim.set_plan([{"answer": {"status": status, "body": "text"}}])
    answer = await post(track())
    assert (answer.status_code, answer.content) == (status, b"")
    assert len(sim.events()) == (status == 204)


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirect(post: Post, sim: Simulator, status: int) -> None:
    """A redirect accepts nothing."""
    sim.set_plan([{"answer": {"status": status, "headers": {"Location": "/v1/batch"}}}])
    answer = await post(track())
    assert (answer.status_code, answer.headers["location"], sim.events()) == (status, "/v1/batch", [])


@pytest.mark.parametrize("body", [{"success": False}, '{"success": false, "message": "no"}'])
async def test_refusal_in_success(post: Post, sim: Simulator, body: object) -> None:
    """A 200 whose body says that it was no success keeps nothing."""
    sim.set_plan([{"answer": {"status": 200, "body": body}}])
    answer = await post(track())
    assert (answer.status_code, answer.json()["success"], sim.events()) == (200, False, [])


@pytest.mark.parametrize("body", ["", "not JSON", {"success": True}, [], {"success": 0}])
async def test_odd_success(post: Post, sim: Simulator, body: object) -> None:
    """Any other body of a 200 accepts the request."""
    sim.set_plan([{"answer": {"body": body}}])
    assert (await post(track())).status_code == 200
    assert len(sim.events()) == 1


async def test_planned_success_cannot_read(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A planned 200 for what Segment would refuse is answered, but there is nothing to keep."""
    sim.set_plan([{"answer": {"status": 200}}])
    assert (await client.post("/v1/batch", content=b"{")).json() == {"success": True}
    assert sim.events() == []


async def test_headers_alone(post: Post, client: httpx.AsyncClient, sim: Simulator) -> None:
    """Headers without a status are put over whatever Segment answers."""
    sim.set_plan([{"answer": {"headers": {"X-Seen": "yes"}}}])
    assert ((await post(track())).status_code, len(sim.events())) == (200, 1)
    answer = await client.post("/v1/batch", content=b"{")
    assert (answer.status_code, answer.headers["x-seen"]) == (400, "yes")
    assert answer.json()["message"] == "malformed JSON"


async def test_same_status_keeps_its_body(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A planned status that Segment would answer anyhow has Segment's body."""
    sim.set_plan([{"answer": {"status": 400}}])
    assert (await client.post("/v1/batch", content=b"{")).json()["message"] == "malformed JSON"


async def test_key_rule(post: Post, sim: Simulator) -> None:
    """A rule by key meets that key alone: so a 401 is planned."""
    sim.set_plan([{"when": {"key": "revoked"}, "answer": {"status": 401}}])
    answers = [(await post(track(key), key=key)).status_code for key in ("good", "revoked")]
    assert (answers, [row["message_id"] for row in sim.events()]) == ([200, 401], ["good"])


async def test_item_key_rule(post: Post, sim: Simulator) -> None:
    """A rule by key sees the keys of items too."""
    sim.set_plan([{"when": {"key": "item"}, "answer": {"status": 401}}])
    assert (await post(track(writeKey="item"))).status_code == 401


async def test_message_id_rule(post: Post, sim: Simulator) -> None:
    """A rule by messageId follows a poison event into whichever batch it comes with."""
    sim.set_plan([{"when": {"message_id": "poison"}, "answer": {"status": 400}}])
    batches = [("a", "poison"), ("a",), ("poison",), ("b", "c")]
    assert [(await post(*map(track, batch))).status_code for batch in batches] == [400, 200, 400, 200]
    assert [row["message_id"] for row in sim.events()] == ["a", "b", "c"]


async def test_requests_rule(post: Post, client: httpx.AsyncClient, sim: Simulator) -> None:
    """Requests are counted over every POST on a route, refused ones too, and over nothing else."""
    sim.set_plan([{"when": {"requests": [2, 3]}, "answer": {"status": 500}}])
    await client.get("/v1/batch")
    await client.post("/v2/batch")
    await client.get("/_sim/events")
    statuses = [(await post(track())).status_code for _ in range(2)]
    statuses.append((await client.post("/v1/batch", content=b"{")).status_code)
    statuses.append((await client.post("/v1/t", json=track(writeKey="k"))).status_code)
    assert statuses == [200, 500, 500, 200]
    assert [(row["n"], row["rule"]) for row in sim.requests() if row["n"]] == [
        (1, None),
        (2, 1),
        (3, 1),
        (4, None),
    ]


async def test_count_goes_on_with_a_new_plan(post: Post, sim: Simulator) -> None:
    """A new plan does not start the count of requests anew."""
    await post(track())
    sim.set_plan([{"when": {"requests": 2}, "answer": {"status": 500}}])
    assert (await post(track())).status_code == 500


async def test_delay(post: Post, sim: Simulator, slept: list[float]) -> None:
    """A delay without a status holds a request back and then treats it as ever."""
    sim.set_plan([{"answer": {"delay_s": 2.5}}])
    assert (await post(track())).status_code == 200
    [row], [request] = sim.events(), sim.requests()
    assert slept == [2.5]
    assert (request["at"], request["monotonic"]) == ("2026-11-21T19:00:00.000Z", 1_000)
    assert row["received_at"] == request["finished_at"] == "2026-11-21T19:00:02.500Z"


async def test_delayed_error(post: Post, sim: Simulator, slept: list[float]) -> None:
    """A delay comes before a planned error too."""
    sim.set_plan([{"answer": {"status": 504, "delay_s": 30}}])
    assert ((await post(track())).status_code, slept) == (504, [30])


async def test_client_gone_during_delay(
    sim: Simulator, dial: Dial, raw_post: Callable[..., bytes], eventually: Eventually, slept: list[float]
) -> None:
    """A request whose client has left during its delay is processed all the same."""
    sim.set_plan([{"answer": {"delay_s": 60}}])
    _, writer = await dial()
    writer.write(raw_post("late"))
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: bool(sim.events()))
    assert ([row["message_id"] for row in sim.events()], slept) == (["late"], [60])


async def test_reset_before(sim: Simulator, dial: Dial, raw_post: Callable[..., bytes]) -> None:
    """A reset before leaves the client with a reset connection and nothing kept."""
    sim.set_plan([{"answer": {"action": "reset_before"}}])
    reader, writer = await dial()
    writer.write(raw_post("m"))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    [request] = sim.requests()
    assert (request["action"], request["status"], request["events"]) == ("reset_before", None, 1)
    assert (sim.events(), sim.summary()["by_status"]) == ([], {"none": 1})


async def test_reset_after(sim: Simulator, dial: Dial, raw_post: Callable[..., bytes]) -> None:
    """A reset after keeps the events, and the client does not get to know."""
    sim.set_plan([{"answer": {"status": 200, "action": "reset_after"}, "times": 1}])
    reader, writer = await dial()
    writer.write(raw_post("m"))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    [request] = sim.requests()
    assert (request["action"], request["status"]) == ("reset_after", None)
    assert [row["fate"] for row in sim.events()] == ["kept"]


async def test_retry_after_lost_answer(post: Post, sim: Simulator) -> None:
    """After a lost answer the retry is a duplicate."""
    sim.set_plan([{"answer": {"action": "reset_after"}, "times": 1}])
    with pytest.raises(httpx.ReadError):
        await post(track())
    assert (await post(track())).status_code == 200
    assert [row["fate"] for row in sim.events()] == ["kept", "duplicate"]


async def test_delayed_reset(post: Post, sim: Simulator, slept: list[float]) -> None:
    """A delay comes before a reset too."""
    sim.set_plan([{"answer": {"action": "reset_before", "delay_s": 3}}])
    with pytest.raises(httpx.ReadError):
        await post(track())
    assert slept == [3]


async def test_hang(
    sim: Simulator, dial: Dial, post: Post, raw_post: Callable[..., bytes], eventually: Eventually
) -> None:
    """A hanging request keeps nothing and holds up no other, and ends when its client leaves."""
    sim.set_plan([{"when": {"message_id": "stuck"}, "answer": {"action": "hang"}}])
    reader, writer = await dial()
    writer.write(raw_post("stuck"))
    await eventually(lambda: bool(sim.requests()))
    assert (await post(track("free"))).status_code == 200
    assert sim.requests()[0]["finished_at"] is None
    writer.write_eof()
    assert await reader.read() == b""
    stuck = sim.requests()[0]
    assert (stuck["action"], stuck["status"], stuck["finished_at"] is None) == ("hang", None, False)
    assert [row["message_id"] for row in sim.events()] == ["free"]


async def test_hang_ends_with_the_simulator(raw_post: Callable[..., bytes], eventually: Eventually) -> None:
    """A simulator that closes lets go of hanging clients."""
    async with Simulator(plan=[{"answer": {"action": "hang"}}]) as sim:
        reader, writer = await asyncio.open_connection(sim.host, sim.port)
        writer.write(raw_post("stuck"))
        await eventually(lambda: bool(sim.requests()))
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_plan_by_constructor(http: httpx.AsyncClient) -> None:
    """A simulator may start with a plan."""
    async with Simulator(plan=[{"answer": {"status": 418}}]) as sim:
        assert (await http.post(f"{sim.url}/v1/batch")).status_code == 418
