"""Endpoints: whether Segment can be reached from here, asked without any event or key.

A `HEAD` of the endpoint's root goes the way that a worker's requests go, through the same proxies and trusting
the same certificates. What it answers does not matter.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import httpx

from pombo.ops.doctor.check import Check, listed
from pombo.ops.wording import age
from pombo.shared.sources import REGION_HOSTS, Source

TIMEOUT_S = 3.0
MOST = 64
"""Endpoints that are asked; each has a thread of its own."""


def roots(sources: Sequence[Source]) -> dict[str, list[str]]:
    """The roots that sources send to, with their names."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(source.endpoint or REGION_HOSTS[source.region or "us"], []).append(source.name)
    return found


def probe(endpoints: Sequence[str], timeout_s: float = TIMEOUT_S) -> dict[str, str | float]:
    """Ask all at once; for each the seconds it took to answer, or why it did not.

    The threads are daemons: one that hangs in the system's resolver keeps nobody.
    """
    answers: queue.SimpleQueue[tuple[str, str | float]] = queue.SimpleQueue()
    asked = list(endpoints)[:MOST]
    for root in asked:
        threading.Thread(target=lambda root=root: answers.put((root, _ask(root, timeout_s))), daemon=True).start()
    found: dict[str, str | float] = {}
    ends = time.monotonic() + timeout_s + 1.0
    while len(found) < len(asked):
        try:
            root, answer = answers.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            break
        found[root] = answer
    return {root: found.get(root, f"no answer within {age(timeout_s)}") for root in asked}


def _ask(root: str, timeout_s: float) -> str | float:
    begun = time.monotonic()
    try:
        with httpx.Client(timeout=timeout_s, follow_redirects=False) as client:
            client.head(f"{root}/")
    except Exception as error:
        return _cause(error, timeout_s)
    return time.monotonic() - begun


def _cause(error: BaseException, timeout_s: float) -> str:
    """Why there was no answer, from the innermost exception that tells."""
    for one in _chain(error):
        if isinstance(one, socket.gaierror):
            return f"its name cannot be resolved ({one.strerror})"
        if isinstance(one, ssl.SSLError):
            return f"TLS failed ({getattr(one, 'verify_message', '') or one.reason or one})"
        if isinstance(one, ConnectionRefusedError):
            return "nothing listens there"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {age(timeout_s)}"
    return " ".join(str(error).split()) or type(error).__name__


def _took(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))} ms" if seconds < 1 else age(seconds)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def endpoint_checks(names: Mapping[str, Sequence[str]], answers: Mapping[str, str | float]) -> Iterator[Check]:
    """Judge what `probe` brought; `names` are the sources of each root."""
    for root, answer in answers.items():
        if isinstance(answer, float):
            yield Check(f"endpoint {root}", True, f"answers in {_took(answer)}, of {listed(names[root])}")
            continue
        remedy = f"see DNS, firewall and proxy from here, or `pombo sources set {names[root][0]} --endpoint|--region …`"
        yield Check(f"endpoint {root}", False, f"{answer}; needed by {listed(names[root])}", remedy)
    if len(answers) < len(names):
        yield Check("endpoints", True, f"{len(names) - len(answers):,} more were not asked")
