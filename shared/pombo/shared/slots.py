"""Slots: which node of a cluster a command belongs to. Pure; asking the nodes is done by links and clients.

A node that answers MOVED, ASK, TRYAGAIN or CLUSTERDOWN did nothing, so such a command may be sent again: MOVED and ASK
are followed here, the others are trouble that passes. After anything else no command is sent twice.
"""

import random
from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from pombo.shared.redisurl import Node

HOPS = 5
"""Redirections that one command follows; more of them go in circles."""
_KEYLESS = frozenset({
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "FLUSHALL", "FLUSHDB", "INFO", "KEYS",
    "LASTSAVE", "PING", "PUBLISH", "ROLE", "SCAN", "SCRIPT", "TIME",
})  # fmt: skip
_KEY_THIRD = frozenset({"EVAL", "EVALSHA"})
_KEY_SECOND = frozenset({"MEMORY", "OBJECT", "XINFO", "XGROUP"})


def slot_of(command: Sequence[Any]) -> int | None:
    """The slot of a command's first key, for all its keys have the same; None when any node will do."""
    name, second, _ = str(command[0]).upper().partition(" ")
    at = 3 if name in _KEY_THIRD else 2 if name in _KEY_SECOND and not second else 1
    if name in _KEYLESS or len(command) <= at or (name in _KEY_THIRD and not int(command[2])):
        return None
    key = command[at]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class Slots:
    """What is known of a cluster: who holds which slot.

    Args:
        seeds: the nodes that the cluster is entered by.
    """

    def __init__(self, seeds: Sequence[Node]) -> None:
        self.fresh = False
        """Whether the map may be relied on; unless it may, a node is to be asked before the next command."""
        self.nodes: frozenset[Node] = frozenset()
        """The primaries."""
        self._seeds = tuple(seeds)
        self._owners: dict[int, Node] = {}

    def candidates(self) -> list[Node]:
        """Whom to ask for the map, in this order: any node knows it, but one that is cut off knows an old one."""
        known = sorted(self.nodes)
        random.shuffle(known)
        return [*known, *(seed for seed in self._seeds if seed not in known)]

    def learn(self, asked: Node, reply: Sequence[Any]) -> None:
        """Take in a node's answer to CLUSTER SLOTS."""
        owners: dict[int, Node] = {}
        for first, last, primary, *_ in reply:
            node = Node(_text(primary[0]) or asked.host, int(primary[1]))
            owners |= dict.fromkeys(range(first, last + 1), node)
        self._owners, self.nodes = owners, frozenset(owners.values())
        self.fresh = bool(owners)

    def doubt(self) -> None:
        """Somebody did not answer: ask who holds what before the next command."""
        self.fresh = False

    def move(self, slot: int, node: Node) -> None:
        """Take in that a slot has moved."""
        self._owners[slot] = node
        self.nodes |= {node}

    def owner(self, slot: int | None) -> Node:
        """Who holds a slot; for None any node.

        Raises:
            ClusterDownError: nobody does, as far as is known.
        """
        if slot is None:
            return random.choice(self.candidates())
        try:
            return self._owners[slot]
        except KeyError:
            self.doubt()
            raise ClusterDownError(f"CLUSTERDOWN no node of the cluster serves slot {slot}") from None


class Trip:
    """One command's way: `node` is where to send it, `asking` whether ASKING goes before it.

    Raises:
        ClusterDownError: nobody holds the command's slot.
    """

    def __init__(self, slots: Slots, command: Sequence[Any]) -> None:
        self._slots = slots
        self._hops = 0
        self.slot = slot_of(command)
        self.node = slots.owner(self.slot)
        self.asking = False

    def redirect(self, error: AskError) -> None:
        """Go where the node said; raises `error` again when that has been too often."""
        self._hops += 1
        if self._hops > HOPS:
            self._slots.doubt()
            raise error
        target = Node(error.host or self.node.host, error.port)
        self.asking = not isinstance(error, MovedError)
        if not self.asking:
            self._slots.move(error.slot_id, target)
        self.node = target


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
