"""A cluster whose primaries may die, because each has a replica that takes its place."""

from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from support.servers import Cluster, Server, _id, _raw, _text
from support.waiting import until


class Replicated(Cluster):
    """Three primaries with a third of the slots each, and a replica of each one."""

    nodes = 6

    def bind(self) -> None:
        """Make a cluster of the first three, and have the others follow them."""
        everybody, self.servers = self.servers, self.servers[:3]
        super().bind()
        self.servers = everybody
        for replica, primary in zip(everybody[3:], everybody[:3], strict=True):
            with replica.client() as client:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port, self._bus(primary))
            until(lambda r=replica, p=primary: _follow(r, p), "replica")  # type: ignore[misc]
        until(self.whole, "cluster with replicas")

    def holders(self) -> list[Server]:
        """The primaries of now."""
        return [server for server in self.servers if server.lives and server.role() == "master"]

    def whole(self) -> bool:
        """Whether all live, three of them are primaries, and each of these is followed."""
        holders = self.holders()
        return len(holders) == 3 and all(map(_well, self.servers)) and all(map(_followed, holders))


def _follow(replica: Server, primary: Server) -> bool:
    """Make one the other's replica, as soon as it knows it."""
    with primary.client() as there, replica.client() as here, suppress(RedisError):
        return bool(_raw(here, "CLUSTER", "REPLICATE", _id(there)) == b"OK")
    return False


def _well(server: Server) -> bool:
    with suppress(RedisError), server.client() as client:
        return "cluster_state:ok" in _text(_raw(client, "CLUSTER", "INFO"))
    return False


def _followed(primary: Server) -> bool:
    with suppress(RedisError), primary.client() as client:
        told: Any = client.info("replication")
        return bool(told["connected_slaves"] and told["slave0"]["state"] == "online" and told["slave0"]["lag"] <= 1)
    return False
