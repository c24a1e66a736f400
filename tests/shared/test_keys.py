"""The catalogue of keys."""

import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.shared import keys as catalogue
from pombo.shared.keys import Keys, SourceKeys

_sources = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_namespaces = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")
_numbers = st.integers(0, 255)


def of_source(keys: SourceKeys, number: int = 0, other: int = 0) -> dict[str, str]:
    """Every key of a source, by the name that makes it."""
    return {
        "ledger": keys.ledger,
        "flow": keys.flow,
        "rate": keys.rate,
        "ids": keys.ids,
        "dead": keys.dead,
        "dead_table": keys.dead_table,
        "dead_groups": keys.dead_groups,
        **dict(zip(("dead_draft", "dead_draft groups"), keys.dead_draft, strict=True)),
        "recoveries": keys.recoveries,
        "losses": keys.losses,
        "history": keys.history,
        "history_day": keys.history_day,
        "tail": keys.tail,
        "stream": keys.stream(number),
        "lease": keys.lease(number),
        "record": keys.record(number),
        "session": keys.session(str(other)),
        **dict(zip(("imported", "imported lines"), keys.imported(str(other)), strict=True)),
        "bucket": keys.bucket(number, other),
    }


def of_fleet(keys: Keys, group: str = "g") -> dict[str, str]:
    """Every key that is no source's, by the name that makes it."""
    return {
        "sources": keys.sources,
        "secrets": keys.secrets,
        "lookup": keys.lookup,
        "version": keys.version,
        "workers": keys.workers,
        "active": keys.active,
        "epoch": keys.epoch,
        "losses": keys.losses,
        "watched": keys.watched,
        "trail": keys.trail,
        "logins": keys.logins,
        "schedule": keys.schedule,
        "wake": keys.wake,
        "group_rate": keys.group_rate(group),
    }


def public(cls: type) -> set[str]:
    """Names of a class' properties and methods, without its fields."""
    return {name for name in vars(cls) if not name.startswith("_")} - set(cls.__match_args__)  # type: ignore[attr-defined]


def documented() -> Iterator[str]:
    """The keys of the docstring's table."""
    for line in (catalogue.__doc__ or "").splitlines():
        if line.startswith("| `"):
            yield line.split("`")[1]


def hash_tag(key: str) -> str | None:
    """What Redis Cluster hashes of a key, by its rule: between the first { and the next }, unless empty."""
    found = re.search(r"\{([^}]+)\}", key) if "{}" not in key[: key.find("}") + 1] else None
    return found[1] if found else None


def test_this_test_knows_every_key() -> None:
    """A key that is added is added here too."""
    assert public(SourceKeys) - {"buckets"} == of_source(Keys().of("S")).keys() - {
        "dead_draft groups",
        "imported lines",
    }
    assert public(Keys) - {"of"} == of_fleet(Keys()).keys()


def test_table_names_every_key() -> None:
    """The catalogue lists every key that the code can make, and no other."""
    keys = Keys("NS")
    made = set(of_fleet(keys, "G").values()) | {keys.of("S").ledger, keys.of("S").flow, keys.of("S").rate}
    made |= {keys.of("S").ids, keys.of("S").dead, keys.of("S").losses, keys.of("S").session("I")}
    made |= {keys.of("S").dead_table, keys.of("S").dead_groups, *keys.of("S").dead_draft}
    made |= {keys.of("S").history, keys.of("S").history_day, keys.of("S").tail}
    made |= {keys.of("S").recoveries, *keys.of("S").imported("I")}
    made |= {"NS:{S}:stream:P", "NS:{S}:lease:P", "NS:{S}:record:P", "NS:{S}:ids:G:B"}
    assert made == set(documented())
    generic = [re.sub(r"\d+", "7", key) for key in of_source(keys.of("S"), 7, 7).values()]
    assert sorted(generic) == sorted(re.sub(r"(?<=:)[PIGB]\b", "7", k) for k in documented() if "{S}" in k)


def test_every_row_of_the_table_is_whole() -> None:
    """Each key has a type, an owner, a lifetime and a meaning."""
    rows = [line for line in (catalogue.__doc__ or "").splitlines() if line.startswith("| `")]
    assert all(len([cell for cell in row.strip("|").split(" | ") if cell.strip()]) == 5 for row in rows), rows


@settings(deadline=None)
@given(_namespaces, _sources, _numbers, _numbers)
def test_keys_of_a_source_share_its_hash_tag(namespace: str, source: str, number: int, other: int) -> None:
    """One script may touch all keys of a source on Redis Cluster."""
    assert {source} == {hash_tag(key) for key in of_source(Keys(namespace).of(source), number, other).values()}


@settings(deadline=None)
@given(_sources, _sources)
def test_keys_of_the_fleet_share_theirs(source: str, group: str) -> None:
    """Scripts over the registry, and over the fleet, touch one node each."""
    keys = Keys()
    assert {"@registry"} == {hash_tag(key) for key in (keys.sources, keys.secrets, keys.lookup, keys.version)}
    fleet = keys.workers, keys.active, keys.epoch, keys.losses, keys.watched, keys.trail, keys.logins
    assert {"@fleet"} == {hash_tag(key) for key in fleet}
    assert f"@rate.{group}" == hash_tag(keys.group_rate(group))


@settings(deadline=None)
@given(_sources, _sources, _numbers, _numbers)
def test_keys_never_collide(first: str, second: str, number: int, other: int) -> None:
    """No key of a source is another one of it, of another source, of a rate group or of the fleet."""
    keys = Keys()
    names = {first, second}
    made = [key for name in names for key in of_source(keys.of(name), number, other).values()]
    made += of_fleet(keys, first).values()
    made += [keys.group_rate(second)] if second != first else []
    assert len(made) == len(set(made))


@settings(deadline=None)
@given(_namespaces, _namespaces, _sources)
def test_namespaces_keep_apart(first: str, second: str, source: str) -> None:
    """Two installations on one Redis share no key."""
    one = {*of_source(Keys(first).of(source)).values(), *of_fleet(Keys(first)).values()}
    two = {*of_source(Keys(second).of(source)).values(), *of_fleet(Keys(second)).values()}
    assert (first == second) == bool(one & two)
    assert all(key.startswith(f"{first}:") for key in one)


def test_names_are_pinned() -> None:
    """Key names are stored data: another name would lose what waits under this one."""
    assert {
        "ledger": "pombo:{bot}:ledger",
        "flow": "pombo:{bot}:flow",
        "rate": "pombo:{bot}:rate",
        "ids": "pombo:{bot}:ids",
        "dead": "pombo:{bot}:dead",
        "dead_table": "pombo:{bot}:dead:table",
        "dead_groups": "pombo:{bot}:dead:groups",
        "dead_draft": "pombo:{bot}:dead:table:draft",
        "dead_draft groups": "pombo:{bot}:dead:groups:draft",
        "losses": "pombo:{bot}:losses",
        "history": "pombo:{bot}:history",
        "history_day": "pombo:{bot}:history:day",
        "tail": "pombo:{bot}:tail",
        "recoveries": "pombo:{bot}:recoveries",
        "stream": "pombo:{bot}:stream:3",
        "lease": "pombo:{bot}:lease:3",
        "record": "pombo:{bot}:record:3",
        "session": "pombo:{bot}:session:9",
        "imported": "pombo:{bot}:import:9",
        "imported lines": "pombo:{bot}:import:9:lines",
        "bucket": "pombo:{bot}:ids:3:9",
    } == of_source(Keys().of("bot"), 3, 9)
