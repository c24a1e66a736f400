"""What a simulated process holds in place of its connections: a Redis client, a subscription, a way to Segment."""

import asyncio
import builtins
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from redis.asyncio import Redis
from redis.commands import AsyncCoreCommands
from redis.exceptions import ConnectionError, TimeoutError

from chaos.errand import UnsentError
from chaos.segment import SimSegment
from chaos.virtualserver import catalogue
from chaos.weather import TICK_S
from chaos.world import Process
from pombo.worker.answers import Answer
from pombo.worker.transport import TIMEOUT_S, Request
from support.virtualscript import hash_of

PATIENCE_S = 5.0
"""The product's socket timeout."""


def name_of(command: Sequence[Any]) -> str:
    """A command for people: a script's name, or the command and its key."""
    if command[0] == "EVALSHA":
        return catalogue()[command[1]].name
    if command[0] == "EVAL":
        return f"EVAL {catalogue()[hash_of(command[1])].name}"
    return " ".join(str(word) for word in command[:2])


class SimRedis(Redis):
    """The asyncio client, whose commands are steps of a process."""

    def __init__(self, process: Process, patience_s: float = PATIENCE_S) -> None:
        super().__init__(protocol=2)
        self._process = process
        self._patience_s = patience_s

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        process = self._process
        world = process.world
        reply = await process.step(
            "redis",
            name_of(args),
            lambda: world.server.run(world.now, args),
            self._patience_s,
            note=_detail(args),
            command=args,
        )
        return self._read(args[0], reply, options)

    def _read(self, command: str, reply: Any, options: dict[str, Any]) -> Any:
        options.pop("keys", None)
        parse: Callable[..., Any] | None = self.response_callbacks.get(command)
        return reply if parse is None else parse(reply, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        assert not transaction, "the product uses no transactions"
        return _Pipeline(self)

    def pubsub(self, **kwargs: Any) -> Any:
        return _Subscription(self._process)


def _detail(args: Sequence[Any]) -> str:
    if args[0] in {"EVALSHA", "EVAL"}:
        count = int(args[2])
        words = [str(word) for word in args[3 : 3 + min(count, 4)]]
        return " ".join(word.rpartition("}:")[2] or word for word in words)
    return " ".join(str(word) for word in args[2:6])


class _Pipeline(AsyncCoreCommands):
    """Several commands that go out and come back together."""

    _event_dispatcher: Any = None

    def __init__(self, redis: SimRedis) -> None:
        self._redis = redis
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def execute_command(self, *command: Any, **options: Any) -> None:
        self._commands.append((command, options))

    async def execute(self) -> list[Any]:
        process, commands = self._redis._process, self._commands
        world = process.world

        def effect() -> list[Any]:
            return [world.server.run(world.now, command) for command, _ in commands]

        name = f"{len(commands)} x {name_of(commands[0][0])}" if commands else "nothing"
        replies = await process.step("redis", name, effect, self._redis._patience_s)
        return [
            self._redis._read(command[0], reply, options)
            for (command, options), reply in zip(commands, replies, strict=True)
        ]


class _Subscription:
    """A subscription to the only channel there is."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._heard: deque[str] = deque()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        listeners = self._process.world.server.listeners
        if self._hear in listeners:
            listeners.remove(self._hear)

    async def subscribe(self, channel: str) -> None:
        world = self._process.world
        await self._process.step("redis", "SUBSCRIBE", lambda: world.server.listeners.append(self._hear), PATIENCE_S)

    async def ping(self) -> None:
        await self._process.step("redis", "PING", lambda: self._hear(""), PATIENCE_S)

    def _hear(self, message: str) -> None:
        process = self._process
        if process.lives and (not message or process.world.weather.hears()):
            process.world.later(TICK_S, partial(process.loop.call_soon, self._take, message))

    def _take(self, message: str) -> None:
        self._heard.append(message)
        self._news.set()

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        if not self._heard:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except builtins.TimeoutError:
                return None
        message = self._heard.popleft()
        return {"type": "message" if message else "pong", "data": message.encode()}


class SimTransport:
    """A worker's way to Segment."""

    def __init__(self, process: Process, segment: SimSegment) -> None:
        self._process = process
        self._segment = segment

    async def post(self, request: Request) -> Answer:
        process, segment = self._process, self._segment
        sending = segment.begin(process, request)
        try:
            answer: Answer | None = await process.step(
                "segment", "POST", lambda: segment.take(sending), TIMEOUT_S, note=" ".join(sending.ids)
            )
            if answer is not None and sending.delay_s:
                await asyncio.sleep(sending.delay_s)
        except UnsentError as error:
            return Answer(None, failure=f"ConnectError: {error}")
        except TimeoutError:
            return Answer(None, failure="ReadTimeout", unknown=True, late=True)
        except ConnectionError as error:
            return Answer(None, failure=f"ReadError: {error}", unknown=True)
        if answer is None:
            return Answer(None, failure="ReadError: connection reset", unknown=True)
        sending.answered = answer.status == 200
        return answer

    async def close(self) -> None:
        pass
