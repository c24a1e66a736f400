"""The control plane as the console reaches it: RQ's Redis, which may be another than the events'."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from pombo.ops.cli.trouble import trouble
from pombo.ops.console.state import State
from pombo.shared.connection import jobs_url
from pombo.shared.errors import ConfigurationError


def why(state: State, error: RedisError | ConfigurationError) -> str:
    """Why the control plane cannot be used, and what to do."""
    if isinstance(error, ConfigurationError):
        return str(error)
    settings = state.settings
    variable = "POMBO_JOBS_REDIS_URL" if settings.jobs_redis_url else "POMBO_REDIS_URL" if settings.redis_url else None
    return f"Jobs cannot be reached: {trouble(error, jobs_url(settings), variable)}"


@contextmanager
def control_plane(state: State) -> Iterator[None]:
    """Tell what fails within as the control plane's.

    Raises:
        HTTPException: it is away, or there is none; with words.
    """
    try:
        yield
    except (RedisError, ConfigurationError) as error:
        raise HTTPException(503, why(state, error)) from error
