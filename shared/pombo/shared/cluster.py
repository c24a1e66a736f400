"""A client of Redis Cluster that sends no command twice, unless a node said that it belongs elsewhere.

It is a `Redis` of redis-py with a client of its own for each node. (redis-py's `RedisCluster` drops the connections of
all tasks when one of them has lost its own, and is no `Redis`.)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from redis.asyncio.client import Pipeline, PubSub, Redis
from redis.exceptions import AskError, ClusterError, ConnectionError, RedisError, ResponseError, TimeoutError

from pombo.shared.redisurl import Node
from pombo.shared.slots import Slots, Trip

Command = tuple[tuple[Any, ...], dict[str, Any]]


class ClusterRedis(Redis):
    """Send each command to the node that holds its keys; one without keys goes to any.

    Args:
        seeds: nodes that the cluster is entered by.
        connect: makes the client of one node.
    """

    def __init__(self, seeds: Sequence[Node], connect: Callable[[Node], Redis]) -> None:
        self.slots = Slots(seeds)
        self._connect = connect
        self._clients: dict[Node, Redis] = {}
        self._loading = asyncio.Lock()
        # Serves nobody: what the base class reads of it is the same for all nodes.
        super().__init__(connection_pool=self._client(seeds[0]).connection_pool)

    def _client(self, node: Node) -> Redis:
        if node not in self._clients:
            self._clients[node] = self._connect(node)
        return self._clients[node]

    async def primaries(self) -> list[Redis]:
        """A client of each node that holds slots."""
        await self._load()
        return [self._client(node) for node in sorted(self.slots.nodes)]

    async def forsake(self) -> None:
        """Close idle connections, and ask who holds what before the next command."""
        self.slots.doubt()
        for client in list(self._clients.values()):
            await client.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to all nodes."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose(close_connection_pool)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command where its keys are; raises what the node's client raises."""
        await self._load()
        trip = Trip(self.slots, args)
        while True:
            try:
                return await self._tell(trip, args, options)
            except AskError as error:
                trip.redirect(error)

    async def _tell(self, trip: Trip, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        client: Any = self._client(trip.node)
        try:
            if not trip.asking:
                return await client.execute_command(*args, **options)
            pipe = client.pipeline(transaction=False)
            pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
            return _raised((await pipe.execute(raise_on_error=False))[1])
        except (ConnectionError, TimeoutError, OSError, asyncio.CancelledError):
            self.slots.doubt()
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """A pipeline over all nodes; there are no transactions here, which is what scripts are for."""
        if transaction:
            raise ClusterError("a cluster takes no transactions; use a script, or transaction=False")
        return ClusterPipeline(self)

    async def together(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one go for each node; an error is raised, the first one of them."""
        await self._load()
        by_node: dict[Node, list[int]] = {}
        for number, (args, _) in enumerate(commands):
            by_node.setdefault(Trip(self.slots, args).node, []).append(number)
        replies: dict[int, Any] = {}
        for node, numbers in by_node.items():
            replies |= zip(numbers, await self._burst(node, [commands[number] for number in numbers]), strict=True)
        return [_raised(replies[number]) for number in range(len(commands))]

    async def _burst(self, node: Node, commands: Sequence[Command]) -> list[Any]:
        """Run commands on one node; those that it redirects go again, each by itself."""
        pipe = self._client(node).pipeline(transaction=False)
        for args, options in commands:
            pipe.execute_command(*args, **options)
        try:
            replies = await pipe.execute(raise_on_error=False)
        except (ConnectionError, TimeoutError, OSError, asyncio.CancelledError):
            self.slots.doubt()
            raise
        return [
            await self.execute_command(*args, **options) if isinstance(reply, AskError) else reply
            for reply, (args, options) in zip(replies, commands, strict=True)
        ]

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Subscribe at any node: what is published goes to all of them."""
        return self._client(self.slots.owner(None)).pubsub(**kwargs)

    async def scan_iter(self, match: Any = None, count: int | None = None, *args: Any, **kwargs: Any) -> AsyncIterator:  # type: ignore[override,type-arg]
        """Every key of every node that matches."""
        for client in await self.primaries():
            async for key in client.scan_iter(match, count, *args, **kwargs):
                yield key

    # -- the map ------------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Read who holds what, unless that is known."""
        if self.slots.fresh:
            return
        async with self._loading:
            if not self.slots.fresh:
                await self._ask_around()

    async def _ask_around(self) -> None:
        troubles = []
        for node in self.slots.candidates():
            try:
                client: Any = self._client(node)
                self.slots.learn(node, await client.execute_command("CLUSTER", "SLOTS"))
            except (RedisError, OSError) as error:
                troubles.append(f"{node}: {str(error) or type(error).__name__}")
            if self.slots.fresh:
                return await self._drop_strangers()
        raise no_node(troubles)

    async def _drop_strangers(self) -> None:
        """Let go of the clients of nodes that left; those at work end with their connections."""
        known = {*self.slots.candidates()}
        for node in [node for node in self._clients if node not in known]:
            await self._clients.pop(node).connection_pool.disconnect(inuse_connections=False)


class ClusterPipeline(Pipeline):
    """Commands that are run together, on as many nodes as they belong to."""

    def __init__(self, cluster: ClusterRedis) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the commands; raises the first error."""
        stack: Any = self.command_stack
        self.command_stack = []
        return await self._cluster.together(stack)


def no_node(troubles: Iterable[str]) -> ConnectionError:
    """The error for a cluster of which no node tells who holds what."""
    return ConnectionError(f"no node of the cluster answers: {'; '.join(troubles) or 'none serves any slot'}")


def _raised(reply: Any) -> Any:
    if isinstance(reply, ResponseError):
        raise reply
    return reply
