"""Slots: which node a command goes to, and what is learnt from redirections."""

from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from pombo.shared.keys import Keys
from pombo.shared.redisurl import Node
from pombo.shared.slots import HOPS, Slots, Trip, slot_of

A, B, C = Node("a", 1), Node("b", 2), Node("c", 3)
MAP: Any = [[0, 8191, [b"a", 1, b"id"], [b"replica", 9, b"id"]], [8192, 16383, [b"b", 2, b"id"]]]
BOT = key_slot(b"{bot}")


def slots() -> Slots:
    """A map of which A holds the first half, where `{bot}` is, and B the second."""
    made = Slots([A])
    made.learn(A, MAP)
    return made


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("GET", "{bot}:a"), BOT),
        (("HGET", b"{bot}:a", "field"), BOT),
        (("EVALSHA", "sha", 2, "{bot}:a", "{bot}:b", "arg"), BOT),
        (("evalsha", "sha", "1", "{bot}:a"), BOT),
        (("MEMORY USAGE", "{bot}:a"), BOT),
        (("XINFO", "STREAM", "{bot}:a"), BOT),
        (("EVAL", "return 1", 0), None),
        (("PING",), None),
        (("PUBLISH", "pombo:wake", "bot"), None),
        (("SCAN", 0, "MATCH", "*"), None),
        (("CONFIG GET", "port"), None),
    ],
)
def test_slot_of_a_command(command: tuple[Any, ...], slot: int | None) -> None:
    """It is that of the first key, wherever the command has it; some have none."""
    assert slot == slot_of(command)


def test_every_key_of_a_source_has_one_slot() -> None:
    """So has every key of the registry, and of the fleet."""
    keys, of = Keys(), Keys().of("bot")
    own = [
        of.ledger,
        of.flow,
        of.rate,
        of.ids,
        of.dead,
        of.dead_table,
        of.dead_groups,
        *of.dead_draft,
        of.stream(3),
        of.lease(1),
        of.record(2),
        of.session("i"),
        of.bucket(0, 9),
    ]
    assert {BOT} == {key_slot(key.encode()) for key in own}
    registry = [keys.sources, keys.secrets, keys.lookup, keys.version]
    assert 1 == len({key_slot(key.encode()) for key in registry})
    assert 1 == len({key_slot(key.encode()) for key in (keys.workers, keys.active)})


def test_map() -> None:
    """A node's answer says who holds what; a node that hides its address is where it was asked."""
    made = slots()
    assert made.fresh
    assert {A, B} == made.nodes
    assert (A, B) == (made.owner(0), made.owner(16383))
    assert {A, B} == {made.owner(None) for _ in range(99)}
    made.learn(C, [[0, 16383, [None, 7, b"id"]]])
    assert Node("c", 7) == made.owner(BOT)
    made.learn(C, [[0, 16383, ["", 8, "id"]]])
    assert Node("c", 8) == made.owner(BOT)


def test_slots_that_nobody_holds() -> None:
    """They are trouble that passes, and a reason to ask again."""
    made = slots()
    made.learn(A, MAP[:1])
    with pytest.raises(ClusterDownError):
        made.owner(9000)
    assert not made.fresh
    made.learn(A, [])
    assert not made.fresh


def test_doubt_keeps_whom_to_ask() -> None:
    """After trouble the known nodes are asked, then those that were given."""
    made = Slots([A, C])
    assert [A, C] == made.candidates()
    made.learn(A, MAP)
    made.doubt()
    assert not made.fresh
    assert {A, B} == {*made.candidates()[:2]}
    assert [C] == made.candidates()[2:]


def test_moved_is_remembered() -> None:
    """The command goes where the slot went, and so do those after it."""
    made = slots()
    trip = Trip(made, ("GET", "{bot}:a"))
    assert (A, False) == (trip.node, trip.asking)
    trip.redirect(MovedError(f"{BOT} c:3"))
    assert (C, False) == (trip.node, trip.asking)
    assert C == Trip(made, ("GET", "{bot}:b")).node
    assert C in made.nodes


def test_ask_is_for_one_command() -> None:
    """The command goes there with ASKING, those after it to the owner; an empty host is the one that answered."""
    made = slots()
    trip = Trip(made, ("GET", "{bot}:a"))
    trip.redirect(AskError(f"{BOT} :7"))
    assert (Node("a", 7), True) == (trip.node, trip.asking)
    assert A == Trip(made, ("GET", "{bot}:a")).node
    trip.redirect(MovedError(f"{BOT} b:2"))
    assert (B, False) == (trip.node, trip.asking)


def test_circles_end() -> None:
    """A command follows so many redirections, then the last of them is its answer."""
    made = slots()
    trip = Trip(made, ("GET", "{bot}:a"))
    for _ in range(HOPS):
        trip.redirect(AskError(f"{BOT} b:2"))
    with pytest.raises(AskError):
        trip.redirect(AskError(f"{BOT} b:2"))
    assert not made.fresh
