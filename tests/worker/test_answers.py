"""The table of answers, row by row."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.answers import MAX_HOLD_S, Answer, Outcome, Verdict, classify, wait_hint

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

RETRYABLE = {408, 410, 425, 460} | set(range(500, 600)) - {501, 505}
REFUSED = {400, 413, 414, 422}

ACCEPTED = b'{\n  "success": true\n}'
WRITE_KEY_REFUSED = (
    b'{\n  "success": false,\n  "message": "An invalid write key was provided",\n  "code": "invalid_request"\n}'
)


def judge(status: int | None, body: bytes = b"", **headers: str) -> Verdict:
    """The verdict on an answer; header names are written with underscores."""
    return classify(Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body), NOW)


def http_date(seconds: float) -> str:
    """An HTTP date so many seconds after NOW."""
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


def expected_outcome(status: int) -> Outcome:
    """The table of the design, read once more by other means."""
    if status // 100 == 2:
        return Outcome.DELIVERED
    if status == 429:
        return Outcome.HOLD
    if status in REFUSED:
        return Outcome.REFUSED
    return Outcome.RETRY if status in RETRYABLE else Outcome.PARK


# -- statuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_its_row(status: int) -> None:
    """A bare answer of any status is judged as the table says."""
    assert expected_outcome(status) == judge(status).outcome


@pytest.mark.parametrize("status", range(100, 600))
def test_only_retryable_statuses_hold_for_a_hint(status: int) -> None:
    """A hint to wait makes a hold of 429 and of what would be retried, and changes nothing else."""
    expected = Outcome.HOLD if status in RETRYABLE | {429} else expected_outcome(status)
    assert expected == judge(status, retry_after="7").outcome
    assert expected == judge(status, x_ratelimit_reset="7").outcome


@pytest.mark.parametrize("status", [0, 99, 600, 999, -1])
def test_statuses_outside_of_http_park(status: int) -> None:
    """A status that HTTP does not know is answered by parking: nothing lost, nothing sent."""
    assert Outcome.PARK == judge(status).outcome


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
@pytest.mark.parametrize("body", [ACCEPTED, b"", b"OK", b"<html>", b"\xff\xfe\x00", b'"success": false', b"[false]"])
def test_2xx_is_delivered_whatever_the_body(status: int, body: bytes) -> None:
    """Any 2xx that does not say `success: false` was accepted."""
    assert Verdict(Outcome.DELIVERED) == judge(status, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": false',
        b'{"success": "false"}',
        b'{"success": 0, "x": false}',
        b'{"success": null, "x": false}',
        b'{"Success": false}',
        b'{"nested": {"success": false}}',
        b'[{"success": false}]',
        b"false",
        b'{"x": false} trailing',
        b"[" * 100_000 + b"false",
    ],
)
def test_only_a_plain_success_false_denies_a_2xx(body: bytes) -> None:
    """What merely resembles `{"success": false}` does not turn an acceptance round."""
    assert Outcome.DELIVERED == judge(200, body).outcome


@pytest.mark.parametrize(
    "body",
    [b'{"success":false}', b' {\n"success" : false , "code":"x"}\n', b'{"success":true,"success":false}'],
)
@pytest.mark.parametrize("status", [200, 202, 299])
def test_2xx_with_success_false_is_a_400(status: int, body: bytes) -> None:
    """Segment's own denial counts more than its status."""
    assert Verdict(Outcome.REFUSED, reason="rejected_by_segment") == judge(status, body)


def test_2xx_with_success_false_follows_the_rows_of_400() -> None:
    """A denial is read like a 400: its reasons, the write key, and no hold for a hint."""
    assert Outcome.PARK == judge(200, WRITE_KEY_REFUSED).outcome
    too_large = b'{"success": false, "message": "Exceed payload limit"}'
    assert Verdict(Outcome.REFUSED, reason="too_large") == judge(200, too_large)
    assert Outcome.REFUSED == judge(200, b'{"success": false}', retry_after="9").outcome


@pytest.mark.parametrize(
    "body",
    [
        WRITE_KEY_REFUSED,
        b"An Invalid Write Key was provided",
        b'{"code":"invalid_writeKey"}',
        b"bad write_key",
        b"bad write-key",
        b"WRITEKEY",
    ],
)
def test_400_that_names_the_write_key_parks(body: bytes) -> None:
    """A refused key is the source's fault, not the events': nothing dies, and the reason says what to do."""
    verdict = judge(400, body)
    assert Outcome.PARK == verdict.outcome
    assert "rotate-key" in verdict.reason


@pytest.mark.parametrize("status", [413, 414, 422])
def test_only_400_parks_for_the_write_key(status: int) -> None:
    """Other refusals are bisected even if their text mentions a write key."""
    assert Outcome.REFUSED == judge(status, WRITE_KEY_REFUSED).outcome


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"", "rejected_by_segment"),
        (400, b'{"success":false,"message":"malformed JSON"}', "rejected_by_segment"),
        (400, b"Bad Request" + b" " * 501, "rejected_by_segment"),
        (400, b'{"message": "Exceed payload limit"}', "too_large"),
        (400, b"EXCEED PAYLOAD LIMIT", "too_large"),
        (413, b"", "too_large"),
        (413, b"whatever", "too_large"),
        (414, b"", "too_large"),
        (422, b"", "rejected_by_segment"),
        (400, b"\xff\x00\xfe", "rejected_by_segment"),
    ],
)
def test_refusals_carry_their_dead_reason(status: int, body: bytes, reason: str) -> None:
    """A refused event dies as too large where the status or the text says so, else as rejected."""
    assert Verdict(Outcome.REFUSED, reason=reason) == judge(status, body)


@pytest.mark.parametrize(
    ("status", "part"),
    [(401, "rotate-key"), (403, "rotate-key"), (301, "redirects"), (404, "404"), (501, "501")],
)
def test_parks_say_what_to_look_at(status: int, part: str) -> None:
    """The reason of a park names the status or what it points to."""
    verdict = judge(status)
    assert Outcome.PARK == verdict.outcome
    assert part in verdict.reason


@pytest.mark.parametrize("unknown", [True, False])
def test_no_answer_is_a_retry(unknown: bool) -> None:
    """Without a status the same events go again, and whether they may have arrived is passed on."""
    verdict = classify(Answer(None, failure="ReadError: gone", unknown=unknown), NOW)
    assert Verdict(Outcome.RETRY, reason="ReadError: gone", unknown=unknown) == verdict


def test_no_answer_ignores_what_else_is_there() -> None:
    """Headers without a status hold nothing."""
    assert Outcome.RETRY == judge(None, retry_after="5").outcome


@pytest.mark.parametrize("status", sorted(RETRYABLE))
def test_an_answered_failure_is_no_unknown_outcome(status: int) -> None:
    """A failure that Segment answered was not accepted."""
    assert Verdict(Outcome.RETRY, reason=f"status {status}") == judge(status)


# -- hints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("  30 ", 30.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("3601", MAX_HOLD_S),
        ("999999", MAX_HOLD_S),
        ("-1", 0.0),
        ("-0.0", 0.0),
    ],
)
def test_seconds_are_read_and_kept_within_an_hour(value: str, seconds: float) -> None:
    """Both headers give seconds to wait, from 0 to one hour."""
    assert seconds == wait_hint({"retry-after": value}, NOW)
    assert seconds == wait_hint({"x-ratelimit-reset": value}, NOW)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "soon", "nan", "NaN", "inf", "-inf", "1e999", "0x10", "5, 10", "5;q=1", "\x00"),
        *("+5", "1e2", "1_0", "1.", ".5", "\u0663", "9" * 16, "9" * 5000),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_garbage_is_no_hint(value: str) -> None:
    """A value that is no time to wait counts as absent."""
    assert None is wait_hint({"retry-after": value}, NOW)
    assert None is wait_hint({"x-ratelimit-reset": value}, NOW)


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf"])
def test_garbage_gives_way_to_the_other_header(value: str) -> None:
    """`X-RateLimit-Reset` is asked when `Retry-After` says nothing of use."""
    assert 12.0 == wait_hint({"retry-after": value, "x-ratelimit-reset": "12"}, NOW)


def test_retry_after_goes_first() -> None:
    """With both headers `Retry-After` counts, even when it is shorter."""
    assert 3.0 == wait_hint({"retry-after": "3", "x-ratelimit-reset": "900"}, NOW)
    assert 0.0 == wait_hint({"retry-after": "0", "x-ratelimit-reset": "900"}, NOW)


def test_429_without_a_hint_holds_for_nobody_knows_how_long() -> None:
    """A 429 that names no time holds, with the wait left open."""
    assert Verdict(Outcome.HOLD) == judge(429)
    assert Verdict(Outcome.HOLD) == judge(429, retry_after="later")
    assert Verdict(Outcome.HOLD, wait=60.0) == judge(429, retry_after="60")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529, 460])
def test_retryable_without_a_usable_hint_is_a_retry(status: int) -> None:
    """A hint that cannot be read does not turn a failure into a hold."""
    assert Outcome.RETRY == judge(status, retry_after="later").outcome


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, 0.0), (1, 1.0), (90, 90.0), (3600, 3600.0), (7200, MAX_HOLD_S), (-90, 0.0)]
)
@pytest.mark.parametrize("skew_s", [-86_400 * 400, -45, 0, 45, 86_400])
def test_http_dates_are_read_against_the_answers_date(seconds: float, expected: float, skew_s: float) -> None:
    """A wrong clock here or there changes nothing as long as the answer carries its own `Date`."""
    headers = {"retry-after": http_date(skew_s + seconds), "date": http_date(skew_s)}
    assert expected == wait_hint(headers, NOW)


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Foo 2026 99:99:99 GMT", "12"])
def test_http_dates_fall_back_to_the_own_clock(date: str) -> None:
    """Without a readable `Date` an HTTP date is read against the time of reading."""
    assert 90.0 == wait_hint({"retry-after": http_date(90), "date": date}, NOW)


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 01 Mar 2026 12:00:30 GMT",
        "Sun, 01 Mar 2026 13:00:30 +0100",
        "Sun, 01 Mar 2026 12:00:30 -0000",
        "Sunday, 01-Mar-26 12:00:30 GMT",
        "Sun Mar  1 12:00:30 2026",
    ],
)
def test_all_forms_of_http_dates_are_read(value: str) -> None:
    """The three forms that HTTP knows are read alike, also with other zones."""
    assert 30.0 == wait_hint({"retry-after": value}, NOW)


def test_large_numbers_are_instants() -> None:
    """A number of epoch seconds is an instant, read against `Date`."""
    reset = str(int(NOW.timestamp()) + 40)
    assert 40.0 == wait_hint({"x-ratelimit-reset": reset}, NOW)
    assert 45.0 == wait_hint({"x-ratelimit-reset": reset, "date": http_date(-5)}, NOW)
    assert 0.0 == wait_hint({"x-ratelimit-reset": "1000000000"}, NOW)


MONSTERS = [
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
    "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
    f"Mon, 01 Jan {'9' * 5000} 00:00:00 GMT",
]


@pytest.mark.parametrize("value", MONSTERS, ids=range(len(MONSTERS)))
def test_monstrous_dates_are_no_hint(value: str) -> None:
    """A date beyond what any calendar holds counts as absent, as a hint and as the answer's `Date`."""
    assert None is wait_hint({"retry-after": value, "x-ratelimit-reset": value}, NOW)
    assert 90.0 == wait_hint({"retry-after": http_date(90), "date": value}, NOW)
    assert Outcome.HOLD == judge(429, retry_after=value, date=value).outcome
    assert Outcome.RETRY == judge(503, retry_after=value, date=value).outcome


# -- robustness ----------------------------------------------------------------------------------------------

_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Xyz", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 99_999) | st.integers(),
    st.integers(-1, 30),
    st.integers(-1, 70),
    st.integers(-1, 70),
    st.sampled_from(["GMT", "+2359", "-9999", "+99999", "+99999999999999999999", "PST", "", "ab"]),
)
_values = (
    st.text()
    | _dates
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from([http_date(5), "1_0", "\u0663", "9" * 5000, "Mon, 01 Jan 0001 00:00:00 +2359"])
)
_headers = st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset", "date", "server"]), _values)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["success", "message", "x"]), inner),
    max_leaves=6,
)
_bodies = st.binary(max_size=60) | _json.map(orjson.dumps)


@settings(deadline=None, max_examples=500)
@given(st.integers(100, 599) | st.none(), _headers, _bodies)
def test_every_answer_is_judged(status: int | None, headers: dict[str, str], body: bytes) -> None:
    """Whatever comes back is judged without an exception, and no wait leaves its bounds."""
    verdict = classify(Answer(status, headers, body, failure="x"), NOW)
    assert verdict.wait is None or 0 <= verdict.wait <= MAX_HOLD_S
    assert verdict.wait is None or verdict.outcome is Outcome.HOLD
    assert verdict.outcome in {Outcome.DELIVERED, Outcome.HOLD} or verdict.reason


@settings(deadline=None)
@given(st.binary(max_size=9000))
def test_an_answers_text_is_short(body: bytes) -> None:
    """What a dead letter keeps of an answer is text of 2,048 characters at most."""
    text = Answer(400, body=body, failure="nothing").text()
    assert len(text) <= 2048
    assert ("nothing" == text) == (body in {b"", b"nothing"})
