"""What a command works with: the settings, a client of Redis, and the registry."""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from redis.asyncio import Redis
from redis.client import Redis as BlockingRedis

from pombo.ops.cli.trouble import explained
from pombo.shared.connection import aconnect, connect, jobs_url, redis_url
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, load_secrets, new_secret
from pombo.shared.settings import Settings, read_settings

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One command's connection to one installation."""

    settings: Settings
    redis: Redis

    @property
    def keys(self) -> Keys:
        """The key catalogue."""
        return self.settings.keys

    @cached_property
    def registry(self) -> Registry:
        """The registry with its secrets, for what touches keys.

        Raises:
            ConfigurationError: the secrets are missing or cannot be used.
        """
        return Registry(self.redis, self.keys, load_secrets(self.settings))

    @cached_property
    def sources(self) -> Registry:
        """The registry for what touches no keys: a throwaway secret opens nothing, and none has to be set."""
        return Registry(self.redis, self.keys, Secrets([new_secret()]))


def run(work: Callable[[Session], Awaitable[T]], *, timeout_s: float = 5.0) -> T:
    """Do one command's work.

    Args:
        work: what to do, with a session that is closed afterwards.
        timeout_s: how long one answer of Redis may take.

    Raises:
        RedisUnusableError: Redis cannot be reached, or refuses.
        ConfigurationError: a setting cannot be used.
    """
    settings = read_settings()
    with redis_explained(settings):
        return asyncio.run(_within(settings, work, timeout_s))


def redis_explained(settings: Settings) -> AbstractContextManager[None]:
    """Turn what a client of the settings' Redis raises within into one line: RedisUnusableError."""
    return explained(redis_url(settings), "POMBO_REDIS_URL" if settings.redis_url else None)


async def _within(settings: Settings, work: Callable[[Session], Awaitable[T]], timeout_s: float) -> T:
    redis = aconnect(redis_url(settings), timeout_s=timeout_s)
    try:
        return await work(Session(settings, redis))
    finally:
        await redis.aclose()


def who() -> str:
    """Who types, as jobs and the trail tell it: the name that this machine knows the user by."""
    try:
        return f"{getpass.getuser()}, by command line"
    except (OSError, KeyError):
        return f"user {os.getuid()}, by command line"


@contextmanager
def jobs_connection() -> Iterator[BlockingRedis]:
    """A client of the control plane's Redis.

    Raises:
        RedisUnusableError: on leaving, when Redis could not be reached or refused.
        ConfigurationError: the control plane would be on a cluster, on which RQ does not run.
    """
    settings = read_settings()
    url = jobs_url(settings)
    told = "POMBO_JOBS_REDIS_URL" if settings.jobs_redis_url else None
    told = told or ("POMBO_REDIS_URL" if settings.redis_url else None)
    with explained(url, told), connect(url) as connection:
        yield connection
