"""Segment misbehaves under load: it hangs, resets, talks nonsense, refuses, or cannot be reached at all."""

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from support import front as fronts
from support import hosts
from support.certificates import Certificate, make_certificate
from support.front import Front, Manner
from support.installation import Bot, Installation, until
from support.oracle import seconds
from support.results import record
from support.weather import last

Say = Callable[[str], None]

KEY = "g" * 32
RATE, USERS = 200.0, 40
WARM = 400
"""Deliveries before the trouble begins."""
TROUBLE_S = float(os.environ.get("POMBO_E2E_SECONDS", "8"))
HUNG_S = 20.0
"""Longer than a worker waits for an answer (15 s)."""
RESUMED_S = 10.0
"""After its end something must have been delivered: a trial each 5 s at most, and an answer."""
NAMED_S = 90.0
"""Five requests without an answer open the breaker: where two at a time hang for 15 s, that takes 45 s."""
DRAINED_S = 180.0
"""By then the backlog is gone, also behind a pace that Segment's own limits have cut."""
CALM = {"answer": {"delay_s": 0.03}}
"""Segment takes its time, so that trouble meets requests."""
REFUSED = {"status": 400, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}


@dataclass(frozen=True)
class Place:
    """What a trouble works on."""

    here: Installation
    front: Front

    def plan(self, *answers: dict[str, Any], share: float = 1.0) -> None:
        """Have a share of the requests meet these answers in equal parts, all others none."""
        left, rules = share, []
        for number, answer in enumerate(answers):
            part = share / len(answers)
            rules.append({"when": {"share": min(1.0, part / (1 - part * number))}, "answer": answer})
            left -= part
        self.here.segment.set_plan([*rules, CALM])

    def calm(self) -> None:
        """End it."""
        self.here.segment.set_plan([CALM])


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble: `begin` makes it, and ends it with the block.

    `state` and `says` are what `status` must show while it lasts; `answered`: no answer is lost, so nothing may be
    sent again; `dies`: so many events are refused.
    """

    name: str
    begin: Callable[[Place], AbstractContextManager[None]]
    state: str = "broken"
    says: str = ""
    lasts_s: float = TROUBLE_S
    answered: bool = False
    dies: int = 0
    endpoint: Callable[[Front], str] = field(default=lambda front: front.url)
    tls: bool = False
    names: bool = False
    """Workers take their host names from the installation's own file."""


def planned(*answers: dict[str, Any], share: float = 1.0) -> Callable[[Place], AbstractContextManager[None]]:
    """Answers of the simulator's."""

    @contextmanager
    def trouble(place: Place) -> Iterator[None]:
        place.plan(*answers, share=share)
        yield
        place.calm()

    return trouble


def parking(answer: dict[str, Any]) -> Callable[[Place], AbstractContextManager[None]]:
    """An answer that parks the source; it is resumed by hand."""

    @contextmanager
    def trouble(place: Place) -> Iterator[None]:
        place.plan(answer)
        yield
        place.calm()
        place.here.cli("sources", "resume", "bot")

    return trouble


def mannered(manner: Callable[[], Manner]) -> Callable[[Place], AbstractContextManager[None]]:
    """Bad manners on the wire."""

    @contextmanager
    def trouble(place: Place) -> Iterator[None]:
        place.front.manner = manner()
        yield
        place.front.manner = fronts.honest

    return trouble


@contextmanager
def refusing_some(place: Place) -> Iterator[None]:
    """Twelve events of three users are refused with a 200 that says no."""
    ids = [f"a-u{user:03}.{number:06}" for user in (1, 2, 3) for number in range(20, 28, 2)]
    answer = {"status": 200, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}
    place.here.segment.set_plan([{"when": {"message_id": ids}, "answer": answer}, CALM])
    yield


@contextmanager
def cut(place: Place) -> Iterator[None]:
    """Packets are dropped: who asks hears nothing, and what was sent comes late."""
    place.front.hush()
    yield
    place.front.speak()


def certified(name: str) -> Callable[[Place], AbstractContextManager[None]]:
    """Segment shows a certificate that nobody should believe."""

    @contextmanager
    def trouble(place: Place) -> Iterator[None]:
        show(place.front, CERTIFICATES[name](place.here.folder))
        yield
        show(place.front, good(place.here.folder))

    return trouble


def good(folder: Path) -> Certificate:
    return Certificate(folder / "good" / "cert.pem", folder / "good" / "key.pem")


CERTIFICATES: dict[str, Callable[[Path], Certificate]] = {
    "unknown": lambda folder: make_certificate(folder / "unknown"),
    "expired": lambda folder: Certificate(folder / "expired" / "cert.pem", folder / "expired" / "key.pem"),
    "elsewhere": lambda folder: Certificate(folder / "elsewhere" / "cert.pem", folder / "elsewhere" / "key.pem"),
}


def show(front: Front, made: Certificate) -> None:
    """Present another certificate from now on."""
    assert front.tls is not None
    front.tls.load_cert_chain(made.certificate, made.key)
    front.hang_up()


def trusting(folder: Path) -> ssl.SSLContext:
    """A server's context with a good certificate; a bundle of what workers trust is in `folder`."""
    made = [
        make_certificate(folder / "good"),
        make_certificate(folder / "expired", age=timedelta(days=2)),
        make_certificate(folder / "elsewhere", "segment.example"),
    ]
    (folder / "trusted.pem").write_bytes(b"".join(one.certificate.read_bytes() for one in made))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made[0].certificate, made[0].key)
    return context


def set_name(here: Installation, known: bool) -> None:
    """Write the file that workers take names from, in place."""
    with (here.folder / "hosts").open("r+" if (here.folder / "hosts").exists() else "w") as file:
        file.truncate()
        file.write("127.0.0.1 localhost\n" + ("127.0.0.1 segment.test\n" if known else ""))


@contextmanager
def nameless(place: Place) -> Iterator[None]:
    """The name of Segment's host does not resolve."""
    set_name(place.here, known=False)
    place.front.hang_up()
    yield
    set_name(place.here, known=True)


@contextmanager
def misnamed(place: Place) -> Iterator[None]:
    """Somebody sets an endpoint that does not exist."""
    place.here.cli("sources", "set", "bot", "--endpoint", "https://nowhere.invalid")
    yield
    place.here.cli("sources", "set", "bot", "--endpoint", place.front.url)


WAIT = {"Retry-After": 1}
TROUBLES = (
    Trouble("hanging, no answer in time", planned({"action": "hang"}), says="ReadTimeout", lasts_s=HUNG_S),
    Trouble("resetting before accepting", planned({"action": "reset_before"}), says="ReadError"),
    Trouble("resetting after accepting", planned({"action": "reset_after"}), says="ReadError"),
    Trouble("accepting, then hanging up amid the answer's head", mannered(lambda: fronts.cut_short), says="Protocol"),
    Trouble("accepting, then never answering", mannered(lambda: fronts.silent), says="ReadTimeout", lasts_s=HUNG_S),
    Trouble("no HTTP at all", mannered(lambda: fronts.not_http(accepting=False)), says="Protocol"),
    Trouble("accepting, then no HTTP", mannered(lambda: fronts.not_http(accepting=True)), says="Protocol"),
    Trouble("200 with broken bodies", mannered(fronts.garbled), state="active", answered=True),
    Trouble("200 saying success false for 12 events", refusing_some, state="active", answered=True, dies=12),
    Trouble(
        "500, 502 and 503 for all", planned(*({"status": code} for code in (500, 502, 503))),
        says="status 50", answered=True,
    ),
    Trouble(
        "500, 502 and 503 for half", planned(*({"status": code} for code in (500, 502, 503)), share=0.5),
        state="", answered=True,
    ),
    Trouble(
        "500 and 503, half with Retry-After",
        planned({"status": 500}, {"status": 503, "headers": WAIT}, {"status": 502}, {"status": 502, "headers": WAIT}),
        state="held|broken", answered=True,
    ),
    Trouble("429 for all", planned({"status": 429, "headers": WAIT}), state="held", answered=True),
    Trouble("429 without a hint for all", planned({"status": 429}), state="held", answered=True),
    Trouble("429 for half", planned({"status": 429, "headers": WAIT}, share=0.5), state="held", answered=True),
    Trouble(
        "redirecting", parking({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}),
        state="parked", says="redirects", answered=True,
    ),
    Trouble("401", parking({"status": 401}), state="parked", says="write key is refused", answered=True),
    Trouble("an unknown authority's certificate", certified("unknown"), says="CERTIFICATE_VERIFY_FAILED", tls=True),
    Trouble("an expired certificate", certified("expired"), says="certificate has expired", tls=True),
    Trouble("another host's certificate", certified("elsewhere"), says="Hostname mismatch", tls=True),
    Trouble(
        "a name that does not resolve", nameless, says="ConnectError",
        endpoint=lambda front: f"http://segment.test:{front.port}", names=True,
    ),
    Trouble("an endpoint that does not exist", misnamed, says="ConnectError"),
    Trouble("cut off, packets dropped", cut, says="ReadTimeout", lasts_s=HUNG_S),
)  # fmt: skip


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_segment(installation: Installation, say: Say, trouble: Trouble) -> None:
    """Nothing is lost, sent again needlessly or out of order, an operator is told, and it goes on by itself."""
    if trouble.names and not hosts.possible():
        pytest.skip("this machine gives no mount namespace for names of one's own")
    tls = trusting(installation.folder) if trouble.tls else None
    with Front(installation.segment.url, tls) as front:
        _segment(installation, front, say, trouble)


def _segment(here: Installation, front: Front, say: Say, trouble: Trouble) -> None:
    before: tuple[str, ...] = ()
    if trouble.tls:
        here.set_env(SSL_CERT_FILE=str(here.folder / "trusted.pem"))
    if trouble.names:
        set_name(here, known=True)
        before = ("-m", "support.hosts", str(here.folder / "hosts"))
    here.add("bot", KEY, endpoint=trouble.endpoint(front))
    here.segment.set_plan([CALM])
    workers = here.workers(2, *before)
    bots = [here.stream("bot", name, users=USERS, rate=RATE, budget_s=20) for name in ("a", "b")]
    until(lambda: here.ledger("bot")["delivered"] > WARM, "a steady flow")

    begun = time.time()
    with trouble.begin(Place(here, front)):
        words = until(lambda: told(here, trouble), f"{trouble.state} {trouble.says!r} of `status`", NAMED_S)
        named = time.time()
        last(begun, trouble.lasts_s)
    ended = time.time()
    had = here.ledger("bot")["delivered"]
    until(lambda: here.ledger("bot")["delivered"] > had, "deliveries since")
    until(lambda: all(accepted_after(bot, ended) for bot in bots), "events accepted since")
    logs = [bot.stop() for bot in bots]
    here.drained("bot", DRAINED_S)
    caught_up = time.time()

    findings = here.judge("bot", logs, requests=front.explained(here.segment.requests()))
    resumed = first_kept(here, ended) - ended
    say(
        f"{trouble.name} for {ended - begun:.1f} s: {findings}; told: {words}; delivered again "
        f"{resumed:.1f} s after its end, backlog worked off after {caught_up - ended:.1f} s"
    )
    record(
        "Segment", trouble.name,
        f"delivered again {resumed:.1f} s after its end; told: {words or 'nothing to tell'}",
        findings=findings, lasted_s=round(ended - begun, 1), resumed_s=round(resumed, 2),
        caught_up_s=round(caught_up - ended, 1), named_s=round(named - begun, 1),
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert trouble.dies == findings.dead
    assert {"accepted"} == {one.outcome for log in logs for one in log}
    assert RESUMED_S >= resumed
    assert not trouble.answered or not findings.explained
    assert all(worker.lives for worker in workers)
    assert "active" == here.state("bot")


def told(here: Installation, trouble: Trouble) -> str:
    """What an operator reads of the trouble; empty until it is named, by `status` as by `doctor`."""
    if not trouble.state or trouble.state == "active":
        return "-"
    source = orjson.loads(here.cli("status", "--json"))["sources"]["bot"]
    reason = source["reason"] or ""
    if not re.fullmatch(trouble.state, source["state"]) or trouble.says not in reason:
        return ""
    if source["state"] == "held":
        return f"held until {source['hold_until']}"
    checks = orjson.loads(here.cli("doctor", "--json", code=1))["checks"]
    found = [check for check in checks if check["name"] == "source bot" and not check["ok"]]
    return f"{reason}" if found and trouble.says in found[0]["detail"] else ""


def first_kept(here: Installation, moment: float) -> float:
    """When the first event arrived after a moment, by the wall clock (s)."""
    arrived = [seconds(row["received_at"]) for row in here.segment.events() if row["fate"] == "kept"]
    return min((at for at in arrived if at > moment), default=float("inf"))


def accepted_after(bot: Bot, moment: float) -> bool:
    """Whether the bot has had something accepted since."""
    return any(one.at > moment and one.outcome == "accepted" for one in bot.issued())
