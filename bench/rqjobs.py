"""The peer that a Python team reaches for first: one RQ job an event, run without a fork each."""

from functools import cache, partial
from http.client import HTTPConnection
from urllib.parse import urlsplit

import orjson
from redis import Redis
from rq import Queue, SimpleWorker

from bench.trial import Event, Meter, Result, caller_times, main, read, timed

_QUEUE = "bench"
_HEADERS = {"Content-Type": "application/json"}


def enqueue(*, redis: str, url: str, events: str, count: int, warm: int) -> Result:
    """Enqueue one job an event."""
    queue = Queue(_QUEUE, connection=Redis.from_url(redis))
    # By name, as bots do: they do not import what workers run.
    calls = [partial(queue.enqueue, "bench.rqjobs.post", url, event) for event in read(events, count)]
    timed(calls[:warm])
    meter = Meter()
    spent = timed(calls)
    return {"rate": count / meter.wall, "cpu_us": meter.cpu / count * 1e6, **caller_times(spent)}


def work(*, redis: str, count: int) -> Result:
    """Run all jobs in this process, over a connection that is kept open."""
    connection = Redis.from_url(redis)
    worker = SimpleWorker([Queue(_QUEUE, connection=connection)], connection=connection)
    meter = Meter()
    worker.work(burst=True, logging_level="ERROR")
    return {"cpu_us": meter.cpu / count * 1e6}


def post(url: str, event: Event) -> None:
    """Send one event; what a job does.

    Raises:
        RuntimeError: it was refused.
    """
    connection = _connection(url)
    connection.request("POST", "/v1/track", orjson.dumps(event), _HEADERS)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the sink answered {answer.status}")


@cache
def _connection(url: str) -> HTTPConnection:
    return HTTPConnection(urlsplit(url).netloc)


if __name__ == "__main__":
    main({"enqueue": enqueue, "work": work})
