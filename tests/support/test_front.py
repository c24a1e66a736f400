"""The front before the simulator: what its manners do to a worker's request, and what it says of them after."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from pombo.ops.simulator import Simulator
from pombo.worker.answers import Answer
from pombo.worker.direct import DirectTransport
from pombo.worker.transport import make_request
from support import front as fronts
from support.front import GARBLED, NOT_HTTP, Front, Manner


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(port=0) as made:
        yield made


class Client:
    """A worker's own transport, whose connections stay open until the test ends."""

    def __init__(self, timeout_s: float) -> None:
        self.transport = DirectTransport(timeout_s=timeout_s)

    async def post(self, front: Front, message_id: str) -> Answer:
        """Send one event."""
        event = b'{"messageId":"%s","type":"track","event":"x","userId":"u"}' % message_id.encode()
        request = make_request(f"{front.url}/v1/batch", "k" * 32, [event], sends=0, now=datetime.now(UTC))
        return await self.transport.post(request)


Meet = Callable[[float], Client]


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """Make clients with so much patience."""
    made: list[Client] = []

    def make(timeout_s: float) -> Client:
        made.append(Client(timeout_s))
        return made[-1]

    yield make
    for one in made:
        await one.transport.close()


@pytest.fixture
def client(meet: Meet) -> Client:
    return meet(10)


def actions(front: Front, simulator: Simulator) -> list[str | None]:
    return [row["action"] for row in front.explained(simulator.requests(ids=True))]


async def test_honest(simulator: Simulator, client: Client) -> None:
    """Request and answer pass, and nothing is to be explained."""
    with Front(simulator.url) as front:
        assert 200 == (await client.post(front, "a")).status
        assert [None] == actions(front, simulator)


@pytest.mark.parametrize(
    ("manner", "times"),
    [(lambda: fronts.cut_short, 1), (lambda: fronts.not_http(accepting=True), len(NOT_HTTP))],
)
async def test_accepted_and_not_answered(
    simulator: Simulator, meet: Meet, manner: Callable[[], Manner], times: int
) -> None:
    """Segment has it, and the worker cannot know: each way of saying nothing is an unknown outcome."""
    with Front(simulator.url) as front:
        front.manner = manner()
        answers = [await meet(10).post(front, f"m{n}") for n in range(times)]
        assert [(None, True)] * times == [(answer.status, answer.unknown) for answer in answers]
        assert ["lost"] * times == actions(front, simulator)


async def test_not_accepted_and_not_answered(simulator: Simulator, meet: Meet) -> None:
    """What answers no HTTP may not even hand the request on."""
    with Front(simulator.url) as front:
        front.manner = fronts.not_http(accepting=False)
        answers = [await meet(10).post(front, f"m{n}") for n in range(len(NOT_HTTP))]
        assert {None} == {answer.status for answer in answers}
        assert [] == simulator.requests()


async def test_garbled(simulator: Simulator, meet: Meet) -> None:
    """A 200 is a 200, whatever comes after its head."""
    with Front(simulator.url) as front:
        front.manner = fronts.garbled()
        answers = [await meet(10).post(front, f"m{n}") for n in range(len(GARBLED))]
        assert [200] * len(GARBLED) == [answer.status for answer in answers]
        assert [None] * len(GARBLED) == actions(front, simulator)


async def test_what_was_sent_into_silence_comes_late(simulator: Simulator, client: Client, meet: Meet) -> None:
    """Behind a line that drops everything nobody answers; when it is back, what was sent arrives, for nobody."""
    hasty = meet(0.2)
    with Front(simulator.url) as front:
        front.hush()
        answer = await hasty.post(front, "a")
        assert (None, True) == (answer.status, answer.unknown)
        assert [] == simulator.requests()
        await hasty.transport.close()
        front.speak()
        assert 200 == (await client.post(front, "a")).status
        async with asyncio.timeout(30):
            while len(simulator.events()) < 2:
                await asyncio.sleep(0.01)
        assert ["a", "a"] == [row["message_id"] for row in simulator.events()]
        assert [None, "late"] == sorted(actions(front, simulator), key=str)
