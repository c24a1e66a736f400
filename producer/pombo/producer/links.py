"""Connections to Redis, made when they are needed, for threads (`Link`) and for asyncio (`AsyncLink`).

They send each command once, unless a node of a cluster said that it belongs to another. What they raise tells whether
the command can have reached the server. In a cluster there is one connection to each node that is needed, else one.
"""

import asyncio
import encodings.idna  # noqa: F401 - loaded by the first look for a host; a fork amid that would leave it locked for good
import time
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import AskError, ReadOnlyError, RedisError, ResponseError

from pombo.producer.steps import Ask, NotSentError
from pombo.shared.cluster import no_node
from pombo.shared.connection import aline, line
from pombo.shared.redisurl import Node, read_url
from pombo.shared.slots import Slots, Trip

_WHERE = ("CLUSTER", "SLOTS")


class _Way:
    """One command's way: in a cluster a trip, else straight to the only server."""

    def __init__(self, slots: Slots | None, ask: Ask) -> None:
        self._trip = None if slots is None else Trip(slots, ask.command)

    @property
    def node(self) -> Node | None:
        return None if self._trip is None else self._trip.node

    @property
    def asking(self) -> bool:
        return self._trip is not None and self._trip.asking

    def redirect(self, error: AskError) -> None:
        """Go where the node said; raises `error` when that leads nowhere."""
        if self._trip is None:
            raise error
        self._trip.redirect(error)


class Link:
    """Blocking connections; `url` is asked at each new one, since an embedded server may move."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._slots: Slots | None = None
        self._lines: dict[Node | None, Any] = {}

    def ask(self, ask: Ask) -> Any:
        """Send the command and read its reply.

        Raises:
            NotSentError: no connection within the time; the command was not sent.
            RedisError: the server's error, or a connection lost after sending.
        """
        ends = time.monotonic() + ask.timeout_s
        try:
            self._orient(ends)
            way = _Way(self._slots, ask)
        except (RedisError, OSError) as error:
            self.close()
            raise NotSentError from error
        while True:
            try:
                connection = self._connected(way.node, ends)
            except (RedisError, OSError) as error:
                self.close()
                raise NotSentError from error
            try:
                return self._tell(connection, ask, asking=way.asking, ends=ends)
            except AskError as error:
                way.redirect(error)

    def _tell(self, connection: Any, ask: Ask, *, asking: bool, ends: float) -> Any:
        connection.update_current_socket_timeout(_left(ends))
        try:
            if asking:
                connection.send_command("ASKING", check_health=False)
                connection.read_response()
            connection.send_command(*ask.command, check_health=False)
            return connection.read_response()
        except (RedisError, OSError) as error:
            if not isinstance(error, ResponseError) or isinstance(error, ReadOnlyError):
                self.close()  # A primary no more; its name, its sentinels or its cluster know the new one by now.
            raise

    def _connected(self, node: Node | None, ends: float) -> Any:
        connection = self._lines.get(node)
        if connection is not None and connection.is_connected:
            if not connection.can_read():
                connection.socket_connect_timeout = _left(ends)
                connection.connect()  # Under sentinels a connection may have to move.
                return connection
            connection.disconnect()  # Closed by the server, or out of step.
        made = self._lines[node] = line(read_url(self._url()), node)
        made.socket_timeout = made.socket_connect_timeout = _left(ends)
        made.connect()
        return made

    def _orient(self, ends: float) -> None:
        """In a cluster, know who holds what."""
        self._slots = self._slots or _slots_of(self._lines, self._url)
        if self._slots is not None and not self._slots.fresh:
            self._ask_around(self._slots, ends)

    def _ask_around(self, slots: Slots, ends: float) -> None:
        troubles = []
        for node in slots.candidates():
            try:
                # One that does not answer leaves half of the time to the next.
                connection = self._connected(node, time.monotonic() + _left(ends) / 2)
                connection.send_command(*_WHERE, check_health=False)
                slots.learn(node, connection.read_response())
            except (RedisError, OSError) as error:
                self._drop(node)
                troubles.append(_told(node, error))
            if slots.fresh:
                return
        raise no_node(troubles)

    def _drop(self, node: Node | None) -> None:
        connection = self._lines.pop(node, None)
        if connection is not None:
            connection.disconnect()

    def close(self) -> None:
        """Drop the connections; the next command makes a new one."""
        if self._slots is not None:
            self._slots.doubt()
        for node in list(self._lines):
            self._drop(node)


class AsyncLink:
    """The same for asyncio, bound to the loop that first uses it."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._slots: Slots | None = None
        self._lines: dict[Node | None, Any] = {}

    async def ask(self, ask: Ask) -> Any:
        """Send the command and read its reply; raises as `Link.ask` does."""
        sent = False
        try:
            async with asyncio.timeout(ask.timeout_s):
                await self._orient(ask.timeout_s)
                way = _Way(self._slots, ask)
                while True:
                    connection = await self._connected(way.node, ask.timeout_s)
                    try:
                        sent = True
                        return await _told_to(connection, ask, asking=way.asking)
                    except AskError as error:
                        way.redirect(error)
                        sent = False
        except (RedisError, OSError) as error:
            if not isinstance(error, ResponseError) or isinstance(error, ReadOnlyError):
                await self.close()
            if not sent:
                raise NotSentError from error
            raise
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _connected(self, node: Node | None, timeout_s: float) -> Any:
        connection = self._lines.get(node)
        if connection is not None and connection.is_connected:
            if not await connection.can_read():
                connection.socket_connect_timeout = timeout_s
                await connection.connect()
                return connection
            await connection.disconnect(nowait=True)
        made = self._lines[node] = aline(read_url(self._url()), node)
        made.socket_timeout = None  # The time is limited around the whole command.
        made.socket_connect_timeout = timeout_s
        await made.connect()
        return made

    async def _orient(self, timeout_s: float) -> None:
        self._slots = self._slots or _slots_of(self._lines, self._url)
        if self._slots is not None and not self._slots.fresh:
            await self._ask_around(self._slots, timeout_s)

    async def _ask_around(self, slots: Slots, timeout_s: float) -> None:
        troubles = []
        for node in slots.candidates():
            timeout_s /= 2
            try:
                async with asyncio.timeout(timeout_s):
                    connection = await self._connected(node, timeout_s)
                    await connection.send_command(*_WHERE, check_health=False)
                    slots.learn(node, await connection.read_response())
            except (RedisError, OSError) as error:
                await self._drop(node)
                troubles.append(_told(node, error))
            if slots.fresh:
                return
        raise no_node(troubles)

    async def _drop(self, node: Node | None) -> None:
        connection = self._lines.pop(node, None)
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Drop the connections; the next command makes a new one."""
        if self._slots is not None:
            self._slots.doubt()
        for node in list(self._lines):
            await self._drop(node)


async def _told_to(connection: Any, ask: Ask, *, asking: bool) -> Any:
    if asking:
        await connection.send_command("ASKING", check_health=False)
        await connection.read_response()
    await connection.send_command(*ask.command, check_health=False)
    return await connection.read_response()


def _slots_of(lines: Mapping[Node | None, Any], url: Callable[[], str]) -> Slots | None:
    """An empty map where the URL names a cluster; whoever has a connection and no map is in none."""
    target = None if lines else read_url(url())
    return Slots(target.nodes) if target is not None and target.kind == "cluster" else None


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), 0.001)


def _told(node: Node, error: BaseException) -> str:
    return f"{node}: {str(error) or type(error).__name__}"
