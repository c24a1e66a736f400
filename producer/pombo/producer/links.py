"""One connection to Redis, made when it is needed, for threads (`Link`) and for asyncio (`AsyncLink`).

They send each command once. What they raise tells whether the command can have reached the server.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from pombo.producer.steps import Ask, NotSentError
from pombo.shared.connection import aconnect, connect


class Link:
    """A blocking connection; `url` is asked at each new one, since an embedded server may move."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._connection: Any = None

    def ask(self, ask: Ask) -> Any:
        """Send the command and read its reply.

        Raises:
            NotSentError: no connection within the time; the command was not sent.
            RedisError: the server's error, or a connection lost after sending.
        """
        ends = time.monotonic() + ask.timeout_s
        try:
            connection = self._connected(ask.timeout_s)
        except (RedisError, OSError) as error:
            self.close()
            raise NotSentError from error
        connection.update_current_socket_timeout(max(ends - time.monotonic(), 0.001))
        connection.send_command(*ask.command, check_health=False)
        try:
            return connection.read_response()
        except ReadOnlyError:
            self.close()  # A demoted master; its name may lead to the new one by now.
            raise

    def _connected(self, timeout_s: float) -> Any:
        connection = self._connection
        if connection is not None and connection.is_connected:
            if not connection.can_read():
                return connection
            connection.disconnect()  # Closed by the server, or out of step.
        made: Any = connect(self._url()).connection_pool.make_connection()
        made.socket_timeout = made.socket_connect_timeout = timeout_s
        self._connection = made
        made.connect()
        return made

    def close(self) -> None:
        """Drop the connection; the next command makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


class AsyncLink:
    """The same for asyncio, bound to the loop that first uses it."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._connection: Any = None

    async def ask(self, ask: Ask) -> Any:
        """Send the command and read its reply; raises as `Link.ask` does."""
        sent = False
        try:
            async with asyncio.timeout(ask.timeout_s):
                connection = await self._connected()
                sent = True
                await connection.send_command(*ask.command, check_health=False)
                return await connection.read_response()
        except (RedisError, OSError) as error:
            if not isinstance(error, ResponseError) or isinstance(error, ReadOnlyError):
                await self.close()
            if not sent:
                raise NotSentError from error
            raise
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _connected(self) -> Any:
        connection = self._connection
        if connection is not None and connection.is_connected:
            if not await connection.can_read():
                return connection
            await connection.disconnect(nowait=True)
        pool: Any = aconnect(self._url()).connection_pool
        made = pool.make_connection()
        made.socket_timeout = None  # The time is limited around the whole command.
        self._connection = made
        await made.connect()
        return made

    async def close(self) -> None:
        """Drop the connection; the next command makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
