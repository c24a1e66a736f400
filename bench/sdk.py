"""The peer that bots use today: Segment's own library, its consumer running, gzip on.

It runs in an environment of its own, because it wants an older python-dateutil than RQ.
"""

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from bench.trial import Call, Event, Meter, Result, caller_times, main, read, timed


def enqueue_and_send(*, url: str, events: str, count: int, warm: int) -> Result:
    """Call `track` for each event while the consumer sends, then wait until all is sent.

    Raises:
        RuntimeError: events were lost on the way.
    """
    lost: list[Any] = []
    client = _client(url, count + warm, lost)
    calls = [_call(client, event) for event in read(events, count)]
    timed(calls[:warm])
    client.flush()
    consumer = _thread_clock(client.consumers[0])
    before, meter = consumer(), Meter()
    spent = timed(calls)
    called = meter.wall
    client.flush()
    sent, cpu, consumed = meter.wall, meter.cpu, consumer() - before
    client.join()
    if lost:
        raise RuntimeError(f"the SDK lost {len(lost)} events")
    return {
        "call_rate": count / called,
        "sent_rate": count / sent,
        "call_cpu_us": (cpu - consumed) / count * 1e6,
        "cpu_us": cpu / count * 1e6,
        "consumer_cpu_us": consumed / count * 1e6,
        **caller_times(spent),
    }


def paced(*, url: str, events: str, rate: float, seconds: float, warm: int) -> Result:
    """Call `track` at a steady pace while the consumer sends, and time each call."""
    count = int(rate * seconds)
    client = _client(url, count + warm, [])
    calls = [_call(client, event) for event in read(events, count)]
    timed(calls[:warm])
    client.flush()
    spent = timed(calls, pace_s=1 / rate)
    client.flush()
    client.join()
    return caller_times(spent)


def _client(url: str, room: int, lost: list[Any]) -> Any:
    return import_module("segment.analytics.client").Client(
        "w" * 32, host=url, gzip=True, max_queue_size=room, on_error=lambda _, batch: lost.extend(batch)
    )


def _call(client: Any, event: Event) -> Call[object]:
    if event["type"] == "identify":
        return partial(client.identify, event["userId"], event["traits"])
    return partial(client.track, event["userId"], event["event"], event["properties"])


def _thread_clock(thread: Any) -> Callable[[], float]:
    return partial(time.clock_gettime, time.pthread_getcpuclockid(thread.ident))


if __name__ == "__main__":
    main({"enqueue_and_send": enqueue_and_send, "paced": paced})
