import pytest
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from pombo.producer.rejections import remedy
from pombo.producer.testing import FakeProducer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ReadOnlyError("You can't write against a read only replica."), "point POMBO_REDIS_URL to the primary"),
        (ResponseError("READONLY in a script"), "point POMBO_REDIS_URL to the primary"),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "raise its maxmemory"),
        (ResponseError("MISCONF Redis is configured to save"), "make room there"),
        (NoPermissionError("this user has no permissions"), "widen this user's ACL"),
        (AuthenticationError("invalid username-password pair"), "user and password into POMBO_REDIS_URL"),
        (ResponseError("NOAUTH Authentication required."), "user and password into POMBO_REDIS_URL"),
        (ConnectionError("the line was cut"), "see `pombo status`"),
    ],
)
def test_a_refusal_has_its_remedy(error: RedisError, expected: str) -> None:
    """What the server says decides what to do about it."""
    assert remedy(error).endswith(expected)


@pytest.mark.parametrize(
    ("message_id", "expected"),
    [("m1", "event m1 of"), ("m1\nevent m2 of", r"event 'm1\nevent m2 of' of"), ("m" * 101, "event without id of")],
)
def test_a_message_id_makes_no_log_line(message_id: str, expected: str, caplog: pytest.LogCaptureFixture) -> None:
    """An id that was refused itself is not logged, and one with a line break begins no line of its own."""
    with FakeProducer("bot") as producer:
        producer.reject("unavailable")
        producer.track("u1", "Message Sent", message_id=message_id)

    (line,) = caplog.messages
    assert line.startswith(expected)
