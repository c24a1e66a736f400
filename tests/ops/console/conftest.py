"""Consoles: one that is open on loopback, and one with both tokens; a module's tests share them, an hour apart."""

from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from ops.console.rig import OPERATOR, VIEWER, Running, console
from support.browser import browser, tab

__all__ = ["browser", "tab"]

APART_S = 3600.0
"""So that what one test tried in vain slows down no other."""


@pytest.fixture(scope="module")
def local_of_module(server_url: str) -> Iterator[Running]:
    with console(server_url) as running:
        yield running


@pytest.fixture(scope="module")
def guarded_of_module(server_url: str) -> Iterator[Running]:
    with console(server_url, console_token=OPERATOR, console_viewer_token=VIEWER) as running:
        yield running


@pytest.fixture
def local(local_of_module: Running, redis_url: str) -> Running:
    """A console without tokens, over an empty server."""
    local_of_module.clock.by += APART_S
    return local_of_module


@pytest.fixture
def guarded(guarded_of_module: Running, redis_url: str) -> Running:
    """A console with both tokens, over an empty server."""
    guarded_of_module.clock.by += APART_S
    return guarded_of_module


@pytest.fixture
def kept(sync_redis: Redis) -> Iterator[None]:
    """The server writes to its disk, as one should, so that nothing needs anybody."""
    sync_redis.config_set("appendonly", "yes")
    yield
    sync_redis.config_set("appendonly", "no")


@pytest.fixture
def ana(guarded: Running) -> Iterator[httpx.Client]:
    """An operator."""
    with guarded.client(OPERATOR, "ana") as client:
        yield client


@pytest.fixture
def vic(guarded: Running) -> Iterator[httpx.Client]:
    """A viewer."""
    with guarded.client(VIEWER, "vic") as client:
        yield client
