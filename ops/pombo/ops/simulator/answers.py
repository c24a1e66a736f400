"""What Segment answers to a submission: statuses and exact bodies, without any I/O."""

from dataclasses import dataclass
from http import HTTPStatus

from pombo.ops.simulator.messages import Response, pretty
from pombo.ops.simulator.plan import Answer
from pombo.ops.simulator.submission import Submission
from pombo.ops.simulator.switches import Switches
from pombo.ops.simulator.validation import batch_code, fates, oversized

SUCCESS = pretty({"success": True})
"""21 bytes, as access logs of the real service show."""
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED})
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Retry-Count",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """Segment's own answer; `fates` is None where nothing of the request is accepted.

    `code` is what the batch as a whole fails with after its 200.
    """

    response: Response
    fates: list[str] | None = None
    code: str | None = None


def judge(submission: Submission, switches: Switches) -> Judgement:
    """Return what becomes of a submission when no fault is planned."""
    refusal = _body_refusal(submission, switches) or _content_refusal(submission, switches)
    if refusal:
        return Judgement(refusal)
    found = fates(submission, switches)
    return Judgement(Response(200, SUCCESS), found, batch_code(found) if submission.batch else None)


def compose(natural: Response, planned: Answer | None, switches: Switches) -> Response:
    """Return Segment's own answer with the plan's put over it; before a reset nothing is."""
    if planned is None or planned.action is not None:
        return natural
    status = planned.status or natural.status
    base = natural if status == natural.status else plain(status, switches)
    body, headers = planned.rendered(), dict(base.headers)
    if isinstance(planned.body, str):
        headers.update(_TEXT)
    names = {name.lower() for name in planned.headers or ()}
    kept = {name: value for name, value in headers.items() if name.lower() not in names}
    return Response(
        status,
        b"" if status in _BODILESS else base.body if body is None else body,
        kept | (planned.headers or {}),
    )


def plain(status: int, switches: Switches) -> Response:
    """Return an answer of this status whose body is not documented."""
    if 200 <= status < 300:
        return Response(status, b"" if status in _BODILESS else SUCCESS)
    phrase = _phrase(status)
    if switches.error_body == "json":
        return refused(status, phrase, phrase.lower().replace(" ", "_"))
    return Response(status, phrase.encode() if switches.error_body == "text" else b"", _TEXT)


def refused(status: int, message: str, code: str = "invalid_request") -> Response:
    """Return a refusal as Segment writes it."""
    return Response(status, pretty({"success": False, "message": message, "code": code}))


def malformed(status: int = 400) -> Response:
    """Return the answer to what is no JSON object, and to any method but POST."""
    return refused(status, "malformed JSON")


def not_found() -> Response:
    """Return the answer to an unknown path, which Segment does not document."""
    return refused(404, "not found", "not_found")


def limited(switches: Switches, wait_s: int) -> Response:
    """Return the answer above the rate limit; both headers are seconds to wait."""
    answer = plain(HTTPStatus.TOO_MANY_REQUESTS, switches)
    waits = {"Retry-After": str(wait_s), "X-RateLimit-Reset": str(wait_s)}
    return Response(answer.status, answer.body, {**answer.headers, **waits})


def stray(method: str, known: bool, switches: Switches) -> Response:
    """Return the answer to a request that submits nothing: another method, or a path that is no route."""
    if not known:
        return not_found()
    if method == "OPTIONS" and switches.cors:
        return Response(204, b"", {})
    return malformed(switches.wrong_method)


def shared(response: Response, switches: Switches) -> Response:
    """Return an answer with the headers that let browsers read it."""
    if not switches.cors:
        return response
    return Response(response.status, response.body, _CORS | dict(response.headers))


def _body_refusal(submission: Submission, switches: Switches) -> Response | None:
    if submission.problem == "too_large" or submission.body_bytes(switches) > switches.body_limit:
        return _too_large(switches)
    if submission.problem == "bad_gzip":
        return malformed(switches.bad_gzip)
    return malformed() if submission.problem else None


def _content_refusal(submission: Submission, switches: Switches) -> Response | None:
    if submission.key is None or len(submission.key) < switches.min_key_length:
        return refused(400, "An invalid write key was provided")
    if submission.items is None and switches.batch_not_array == "reject":
        return malformed()
    if submission.items == [] and switches.empty_batch == "reject":
        return malformed()
    if _sinks(submission, switches) and oversized(submission, switches):
        return refused(400, "Exceed payload limit")
    return None


def _sinks(submission: Submission, switches: Switches) -> bool:
    return not submission.batch or switches.oversized_item == "reject_batch"


def _too_large(switches: Switches) -> Response:
    if switches.oversized_body == "text":
        return Response(400, b"Bad Request".ljust(512), _TEXT)
    return refused(400, "Exceed payload limit")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
