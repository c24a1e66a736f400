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
