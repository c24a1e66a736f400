import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pombo.ops.doctor.endpoints import endpoint_checks, probe, roots
from pombo.ops.simulator import Simulator
from pombo.shared.sources import Source


def source(name: str, endpoint: str | None) -> Source:
    """A source with an endpoint of its own, or Segment's."""
    return Source(name=name, incarnation="i", endpoint=endpoint)


@pytest.fixture
def mute() -> Iterator[str]:
    """The URL of a server that takes connections and never says anything."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_sources_share_endpoints() -> None:
    """Each place is asked once, whoever sends there."""
    sources = [source("a", None), source("b", "http://h"), source("c", None)]
    assert {"https://api.segment.io": ["a", "c"], "http://h": ["b"]} == roots(sources)


def test_a_closed_port(free_port: int) -> None:
    """Where nothing listens it is said."""
    root = f"http://127.0.0.1:{free_port}"
    assert {root: "nothing listens there"} == probe([root])


def test_silence_ends(mute: str) -> None:
    """A server that never answers keeps the doctor for no longer than the timeout, over TLS too."""
    answers = probe([f"http://{mute}", f"https://{mute}"], timeout_s=0.2)
    assert ["no answer within 0.2 s"] * 2 == [*answers.values()]


def test_no_tls_where_tls_is_asked_for() -> None:
    """What does not speak TLS is told from what is not there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        root = f"https://127.0.0.1:{server.getsockname()[1]}"
        assert str(probe([root])[root]).startswith("TLS failed (")


def test_an_unknown_name() -> None:
    """A name that cannot be resolved is told from a host that does not answer."""
    assert str(probe(["http://nowhere.invalid"])["http://nowhere.invalid"]).startswith("its name cannot be resolved")


async def test_an_answer_is_enough_and_no_event_is_sent() -> None:
    """Whatever the answer to the probe is, the endpoint is there; nothing arrives at Segment."""
    import asyncio

    async with Simulator() as simulator:
        answers = await asyncio.to_thread(probe, [simulator.url])
        assert isinstance(answers[simulator.url], float)
        assert [] == simulator.events()


def test_findings_name_who_needs_it() -> None:
    """An endpoint that does not answer is a finding with the sources that send there."""
    good, bad = endpoint_checks({"http://a": ["x"], "http://b": ["y", "z"]}, {"http://a": 0.02, "http://b": "gone"})
    assert (True, None, "answers in 20 ms, of x") == (good.ok, good.remedy, good.detail)
    assert (False, "gone; needed by y, z") == (bad.ok, bad.detail)
