"""Sentinel: connections to a service's primary, wherever its sentinels say that it is.

1. Each new connection asks the sentinels, the one that answered last first, and stays tuned to the one that answered.
2. It asks the server for its role: who was demoted, or is not promoted yet, is not used.
3. Before each command it looks whether that sentinel told of a change, and whether it still goes to the primary. For
   after a failover the old one takes writes for about ten seconds until the sentinels demote it, and loses them.

redis-py's own client for Sentinel does neither 2 nor 3, and it turns READONLY, by which a server certainly did nothing,
into a lost connection.
"""

import asyncio
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from redis.exceptions import ConnectionError, NoPermissionError, ReadOnlyError, RedisError

from pombo.shared.redisurl import Node, Target

AGAIN_S = 1.0
"""Seconds between two questions while no sentinel can be listened to."""
_QUESTION = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")
_NEWS = ("SUBSCRIBE", "+switch-master")


class Sentinels:
    """What the sentinels of one service said last, and how to ask them again; for all connections of one client.

    Args:
        target: the service.
        pool: of connections to a sentinel, from which class and options are taken; blocking or for asyncio.
    """

    def __init__(self, target: Target, pool: Any) -> None:
        self.primary: Node | None = None
        self._service = target.service
        self._nodes = list(target.nodes)
        self._pool = pool
        self._tuned: Any = None  # A connection to a sentinel, which tells when something changes.
        self._owner = os.getpid()
        self._asked = -math.inf
        self._users: set[int] = set()

    # -- blocking -----------------------------------------------------------------------------------------------------

    def find(self, timeout_s: float) -> Node:
        """Ask until one sentinel knows the primary; raises ConnectionError when none does."""
        self.close()
        troubles: list[str] = []
        for node in list(self._nodes):
            line = self._line(node, timeout_s)
            try:
                with _noted(node, troubles):
                    line.connect()
                    line.send_command(*_QUESTION, self._service, check_health=False)
                    found = self._heard(node, line.read_response())
                    self._tune(line)
                    return found
            finally:
                if line is not self._tuned:
                    line.disconnect()
        raise self._unknown(troubles)

    def _tune(self, line: Any) -> None:
        with suppress(RedisError, OSError):  # Who may not listen asks again and again.
            line.send_command(*_NEWS, check_health=False)
            line.read_response()
            self._tuned = line

    def stirred(self) -> bool:
        """Whether to ask again: something changed, or nobody would tell."""
        if self._listening:
            with suppress(RedisError, OSError):
                return bool(self._tuned.can_read())
        return self._is_due

    def leave(self, user: object) -> None:
        """Take in that a connection is closed; the last one ends the listening too."""
        self._users.discard(id(user))
        if not self._users:
            self.close()

    def close(self) -> None:
        """Listen no more."""
        tuned = self._let_go()
        if tuned is not None:
            tuned.disconnect()

    # -- asyncio ------------------------------------------------------------------------------------------------------

    async def afind(self, timeout_s: float) -> Node:
        """As `find`."""
        await self.aclose()
        troubles: list[str] = []
        for node in list(self._nodes):
            line = self._line(node, timeout_s)
            try:
                with _noted(node, troubles):
                    async with asyncio.timeout(timeout_s / len(self._nodes)):
                        await line.connect()
                        await line.send_command(*_QUESTION, self._service, check_health=False)
                        found = self._heard(node, await line.read_response())
                        await self._atune(line)
                        return found
            finally:
                if line is not self._tuned:
                    await line.disconnect(nowait=True)
        raise self._unknown(troubles)

    async def _atune(self, line: Any) -> None:
        with suppress(RedisError, OSError):
            await line.send_command(*_NEWS, check_health=False)
            await line.read_response()
            await self.aclose()  # Another connection may have asked meanwhile.
            self._tuned = line

    async def astirred(self) -> bool:
        """As `stirred`."""
        if self._listening:
            with suppress(RedisError, OSError):
                return bool(await self._tuned.can_read())
        return self._is_due

    async def aleave(self, user: object) -> None:
        """As `leave`."""
        self._users.discard(id(user))
        if not self._users:
            await self.aclose()

    async def aclose(self) -> None:
        """As `close`."""
        tuned = self._let_go()
        if tuned is not None:
            await tuned.disconnect(nowait=True)

    # -- both ---------------------------------------------------------------------------------------------------------

    def join(self, user: object) -> None:
        """Take in that a connection is open."""
        self._users.add(id(user))

    @property
    def _listening(self) -> bool:
        return self._tuned is not None and self._owner == os.getpid() and self._tuned.is_connected

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._asked > AGAIN_S

    def _let_go(self) -> Any:
        """Forget whom we listen to, and return it to be closed; a forked child leaves its parent's connection alone."""
        tuned, self._tuned = self._tuned, None
        ours, self._owner = self._owner == os.getpid(), os.getpid()
        self._asked = time.monotonic()
        return tuned if ours else None

    def _line(self, node: Node, timeout_s: float) -> Any:
        """A connection to a sentinel, not yet connected; each gets its share of the time."""
        share = timeout_s / len(self._nodes)
        times = {"socket_timeout": share, "socket_connect_timeout": share}
        return self._pool.connection_class(**self._pool.connection_kwargs | node._asdict() | times)

    def _heard(self, node: Node, answer: Any) -> Node:
        if not answer:
            raise ConnectionError("knows no such service")
        self._nodes.remove(node)
        self._nodes.insert(0, node)
        self.primary = Node(answer[0].decode(), int(answer[1]))
        return self.primary

    def _unknown(self, troubles: list[str]) -> ConnectionError:
        return ConnectionError(f"no sentinel knows the primary of {self._service!r}: {'; '.join(troubles)}")


@contextmanager
def _noted(node: Node, troubles: list[str]) -> Iterator[None]:
    """Write down why a sentinel gave no answer."""
    try:
        yield
    except (RedisError, OSError) as error:
        troubles.append(f"{node}: {str(error) or type(error).__name__}")


@cache
def led(kind: Any) -> Any:
    """A class of redis-py's blocking connections that goes to the primary; it takes `sentinels`."""

    class Led(kind):  # type: ignore[misc]
        host: str
        port: int
        socket_connect_timeout: float

        def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
            self._sentinels = sentinels
            super().__init__(**options)

        def connect(self) -> None:
            if self.is_connected and self._sentinels.stirred():
                with suppress(ConnectionError):  # Without sentinels there is no other primary either.
                    self._sentinels.find(self.socket_connect_timeout / 2)
            if self.is_connected and self._sentinels.primary != (self.host, self.port):
                self.disconnect()
            super().connect()
            self._sentinels.join(self)

        def disconnect(self, *args: Any, **options: Any) -> None:
            super().disconnect(*args, **options)
            self._sentinels.leave(self)

        def _connect(self) -> Any:
            limit, begun = self.socket_connect_timeout, time.monotonic()
            self.host, self.port = self._sentinels.find(limit / 2)
            self.socket_connect_timeout = max(limit - (time.monotonic() - begun), limit / 2)
            try:
                return super()._connect()
            finally:
                self.socket_connect_timeout = limit

        def on_connect_check_health(self, check_health: bool = True) -> None:
            super().on_connect_check_health(check_health)
            try:
                self.send_command("ROLE", check_health=False)
                _check_role(self.read_response(), self._host_error())
            except NoPermissionError:
                return

    return Led


@cache
def aled(kind: Any) -> Any:
    """The same for asyncio's connections."""

    class Led(kind):  # type: ignore[misc]
        host: str
        port: int
        socket_connect_timeout: float

        def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
            self._sentinels = sentinels
            super().__init__(**options)

        async def connect(self) -> None:
            if self.is_connected and await self._sentinels.astirred():
                with suppress(ConnectionError):
                    await self._sentinels.afind(self.socket_connect_timeout / 2)
            if self.is_connected and self._sentinels.primary != (self.host, self.port):
                await self.disconnect(nowait=True)
            await super().connect()
            self._sentinels.join(self)

        async def disconnect(self, *args: Any, **options: Any) -> None:
            await super().disconnect(*args, **options)
            await self._sentinels.aleave(self)

        async def _connect(self) -> None:
            self.host, self.port = await self._sentinels.afind(self.socket_connect_timeout)
            await super()._connect()

        async def on_connect_check_health(self, check_health: bool = True) -> None:
            await super().on_connect_check_health(check_health)
            try:
                await self.send_command("ROLE", check_health=False)
                _check_role(await self.read_response(), self._host_error())
            except NoPermissionError:
                return

    return Led


def _check_role(role: Any, where: str) -> None:
    if role[0] != b"master":
        raise ReadOnlyError(f"{where} is no primary any more, or not yet")
