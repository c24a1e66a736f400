import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from pombo.shared.deadletters.rebuild import Draft
from pombo.shared.errors import (
    ConfigurationError,
    SourceExistsError,
    SourceNotEmptyError,
    StoredVersionError,
    UnknownSourceError,
)
from pombo.shared.keys import Keys
from pombo.shared.ledger import read_ledger
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source
from support.letters import letter, put
from support.programs import SECRET

KEY = "A1b2C3d4" * 4
OTHER_KEY = "Z9y8X7w6" * 4
ODD = "this does not look like a Write Key (32 letters and digits); paste the Write Key, not the Source ID"
OLD, NEW = "old-secret-" * 4, "new-secret-" * 4


@pytest.fixture
def registry(redis: Redis, keys: Keys, secrets: Secrets) -> Registry:
    return Registry(redis, keys, secrets)


async def append(redis: Redis, keys: Keys, source: Source, events: int = 3) -> list[Any]:
    """Append one record batch to partition 0, as a producer would."""
    of = keys.of(source.name)
    args: list[str | bytes | int] = [source.incarnation, 1, 0, 60, keys.wake, "track=3"]
    args += [f"{source.name}/0", events, 30, b"\x01payload"]
    reply: list[Any] = await script("append").acall(redis, [of.ledger, of.session("i"), of.stream(0)], args)
    return reply


async def dump(redis: Redis) -> dict[bytes, bytes]:
    """Everything in Redis, byte for byte."""
    readers = {b"hash": "HGETALL", b"string": "GET", b"set": "SMEMBERS", b"stream": "XRANGE"}
    run: Any = redis.execute_command
    found = {}
    for key in await run("KEYS", "*"):
        reader = readers[await run("TYPE", key)]
        args = ("-", "+") if reader == "XRANGE" else ()
        found[key] = repr(await run(reader, key, *args)).encode()
    return found


async def test_added_source_is_read_back(registry: Registry) -> None:
    """What was given on adding is what `get`, `list` and `write_key` give."""
    added = await registry.add("bot", KEY, partitions=3, rate=50, rate_group="acme", burst=9, backlog_bytes=1000)

    assert added.source == await registry.get("bot")
    assert [added.source] == await registry.list()
    assert KEY == await registry.write_key("bot")
    expected = Source(
        name="bot",
        incarnation=added.source.incarnation,
        partitions=3,
        rate=50,
        rate_group="acme",
        burst=9,
        backlog_bytes=1000,
    )
    assert expected == added.source


async def test_added_source_takes_events(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A source has its ledger when it is registered, so that the first append is accepted."""
    added = await registry.add("bot", KEY)

    reply = await append(redis, keys, added.source)

    assert b"ok" == reply[0]
    assert 3 == (await read_ledger(redis, keys.of("bot"))).accepted


async def test_add_says_where_events_go(registry: Registry) -> None:
    """The answer names the region or the endpoint, and what Segment's 200 does not prove."""
    us = await registry.add("us", KEY)
    eu = await registry.add("eu", OTHER_KEY, region="eu")
    own = await registry.add("own", "B" * 32, endpoint="http://localhost:9000/v1/")

    assert [(), (), ()] == [added.warnings for added in (us, eu, own)]
    assert "events go to Segment's region us (https://api.segment.io), where the workspace must be" == us.notices[0]
    assert "https://events.eu1.segmentapis.com" in eu.notices[0]
    assert "events go to http://localhost:9000" == own.notices[0]
    assert "only the source's debugger in Segment proves that they arrive" in us.notices[1]
    assert (None, "http://localhost:9000/v1/batch") == (own.source.region, own.source.url)


@pytest.mark.parametrize("key", ["short", "A" * 31, "A" * 33, "A" * 31 + "-", "é" * 32])
async def test_odd_write_key_is_taken_with_a_warning(registry: Registry, key: str) -> None:
    """What is not 32 letters and digits is stored, and warned of."""
    added = await registry.add("bot", key)

    assert (ODD,) == added.warnings
    assert key == await registry.write_key("bot")


@pytest.mark.parametrize("key", ["", "\t", "A" * 32 + "\n", "A B", "A\x00", "A\u200b"])
async def test_impossible_write_key_is_refused(registry: Registry, redis: Redis, key: str) -> None:
    """An empty key, or one with whitespace or control characters, is refused and not shown."""
    with pytest.raises(ConfigurationError, match="the write key") as caught:
        await registry.add("bot", key)

    assert not key or key not in str(caught.value)
    assert 0 == await redis.dbsize()


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("a b", {}, "name"),
        ("{x}", {}, "name"),
        ("", {}, "name"),
        ("bot", {"partitions": 0}, "partitions"),
        ("bot", {"rate": -1}, "rate"),
        ("bot", {"rate": float("inf")}, "rate"),
        ("bot", {"rate_group": "a b"}, "rate_group"),
        ("bot", {"region": "mars"}, "region"),
        ("bot", {"endpoint": "ftp://x"}, "endpoint 'ftp://x' is no URL"),
        ("bot", {"endpoint": "http://x", "region": "eu"}, "not both"),
        ("bot", {"speed": 3}, "'speed' is no setting"),
    ],
)
async def test_unusable_options_are_refused(
    registry: Registry, redis: Redis, name: str, options: dict[str, Any], complaint: str
) -> None:
    """An option that cannot be used is named, and nothing is written."""
    with pytest.raises(ConfigurationError, match=complaint):
        await registry.add(name, KEY, **options)

    assert 0 == await redis.dbsize()


async def test_existing_name_is_refused(registry: Registry, redis: Redis) -> None:
    """A second source of a name changes nothing of the first."""
    await registry.add("bot", KEY)
    before = await dump(redis)

    with pytest.raises(SourceExistsError, match="'bot' exists already"):
        await registry.add("bot", OTHER_KEY)

    assert before == await dump(redis)


async def test_add_script_refuses_an_existing_name(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Of two that add one name at the same moment the second one writes nothing."""
    await registry.add("bot", KEY)
    before = await dump(redis)

    args = ["bot", "{}", '{"write_hash":"w","intake_hash":"i"}', keys.wake]
    reply = await script("source_add").acall(redis, [keys.sources, keys.secrets, keys.lookup, keys.version], args)

    assert [b"exists"] == reply
    assert before == await dump(redis)


async def test_add_whose_reply_is_lost_gives_its_intake_key(redis: Redis, keys: Keys, secrets: Secrets) -> None:
    """The registration is repeated under the same keys, so the intake key that is shown is the one that is stored."""
    lost: list[str] = []

    class Leaky(Registry):
        async def _run(self, name: str, *args: str | bytes) -> Any:
            reply = await super()._run(name, *args)
            if not lost:
                lost.append(name)
                raise ConnectionError("the line was cut")
            return reply

    added = await Leaky(redis, keys, secrets).add("bot", KEY)

    assert ["source_add"] == lost
    assert "bot" == await Registry(redis, keys, secrets).find_by_key(added.intake_key)
    assert 1 == await Registry(redis, keys, secrets).version()


async def test_an_add_in_vain_says_how_to_go_on(redis: Redis, keys: Keys, secrets: Secrets) -> None:
    """Whoever repeats an `add` that failed after it registered the source is told how to get an intake key."""

    class Leaky(Registry):
        async def _run(self, name: str, *args: str | bytes) -> Any:
            await super()._run(name, *args)
            raise ConnectionError("the line was cut")

    with pytest.raises(ConnectionError):
        await Leaky(redis, keys, secrets).add("bot", KEY)
    registry = Registry(redis, keys, secrets)
    with pytest.raises(SourceExistsError, match="rotate-key bot`; with --intake that makes a new intake key"):
        await registry.add("bot", KEY)

    assert "bot" == await registry.find_by_key(await registry.rotate_intake_key("bot"))


async def test_add_takes_over_the_ledger_of_an_unfinished_add(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A crash between ledger and registration leaves a ledger that the next `add` makes its own."""
    await redis.hset(keys.of("bot").ledger, "incarnation", "left")

    added = await registry.add("bot", KEY)

    assert "left" == added.source.incarnation
    assert b"ok" == (await append(redis, keys, added.source))[0]


async def test_write_key_is_nowhere(registry: Registry, redis: Redis, secrets: Secrets) -> None:
    """Neither Redis nor anything printed holds a write key or an intake key in clear."""
    added = await registry.add("bot", KEY)
    await registry.rotate_key("bot", OTHER_KEY)
    intake = await registry.rotate_intake_key("bot")
    snapshot = await registry.snapshot()

    stored = b"".join(key + value for key, value in (await dump(redis)).items())
    printed = repr((added, snapshot, registry, secrets, await registry.get("bot"))).encode()

    for canary in (KEY, OTHER_KEY, intake, added.intake_key):
        assert canary.encode() not in stored
        assert canary.encode() not in printed


async def test_unknown_source_lists_close_names(registry: Registry) -> None:
    """A misspelt name is answered with those that are close."""
    await registry.add("support_bot", KEY)

    with pytest.raises(UnknownSourceError) as caught:
        await registry.get("suport_bot")

    assert (
        "no source is called 'suport_bot'; did you mean 'support_bot'? `pombo sources list` shows them, "
        "`pombo sources add` makes one"
    ) == str(caught.value)


async def test_every_method_names_an_unknown_source(registry: Registry) -> None:
    """Whatever is asked of a source that does not exist ends the same way."""
    for call in (
        registry.get("x"),
        registry.write_key("x"),
        registry.set("x", rate=1),
        registry.rotate_key("x", KEY),
        registry.rotate_intake_key("x"),
        registry.remove("x"),
    ):
        with pytest.raises(UnknownSourceError, match="`pombo sources add` makes one"):
            await call


async def test_set_changes_what_is_given(registry: Registry) -> None:
    """Options that are given change, the rest and the incarnation stay."""
    added = await registry.add("bot", KEY, rate=10, rate_group="acme")

    changed = await registry.set("bot", rate=20.5, rate_group=None)

    assert added.source.model_copy(update={"rate": 20.5, "rate_group": None}) == changed
    assert changed == await registry.get("bot")


async def test_region_and_endpoint_replace_each_other(registry: Registry) -> None:
    """An endpoint takes the region's place, a region the endpoint's, and no endpoint is region us."""
    await registry.add("bot", KEY, region="eu")

    changes: list[Any] = [
        {"endpoint": "https://x/v1"},
        {"region": "eu"},
        {"endpoint": "https://y"},
        {"endpoint": None},
    ]
    changed = [await registry.set("bot", **change) for change in changes]

    expected = [(None, "https://x"), ("eu", None), (None, "https://y"), ("us", None)]
    assert expected == [(source.region, source.endpoint) for source in changed]


async def test_partitions_cannot_change(registry: Registry) -> None:
    """The number of partitions is refused with the reason."""
    await registry.add("bot", KEY)

    with pytest.raises(ConfigurationError, match=r"partitions are fixed.*order"):
        await registry.set("bot", partitions=9)  # type: ignore[call-arg]


async def test_set_keeps_fields_of_a_newer_pombo(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A setting that this pombo does not know survives a change of another one."""
    added = await registry.add("bot", KEY)
    stored = {**orjson.loads(added.source.dump()), "colour": "red"}
    await redis.hset(keys.sources, "bot", orjson.dumps(stored).decode())

    await registry.set("bot", rate=5)

    now = await redis.hget(keys.sources, "bot")
    assert {**stored, "rate": 5.0} == orjson.loads(now or "")


async def test_change_meets_another(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A change based on what is no longer stored is refused by the script, and nothing is written."""
    await registry.add("bot", KEY)
    before = await dump(redis)

    args: list[str] = ["bot", "{}", "", '{"new":1}', "", keys.wake]
    reply = await script("source_change").acall(redis, [keys.sources, keys.secrets, keys.lookup, keys.version], args)

    assert [b"changed"] == reply
    assert before == await dump(redis)


async def test_concurrent_changes_all_count(registry: Registry) -> None:
    """Changes of different settings at the same moment overwrite none of each other."""
    await registry.add("bot", KEY)
    changes: list[Any] = [
        {"rate": 1},
        {"burst": 2},
        {"rate_group": "acme"},
        {"window_s": 60},
        {"max_age_s": 5},
    ]

    await asyncio.gather(*(registry.set("bot", **change) for change in changes))

    source = await registry.get("bot")
    assert (1, 2, "acme", 60, 5) == (
        source.rate,
        source.burst,
        source.rate_group,
        source.window_s,
        source.max_age_s,
    )


async def test_rotated_key_replaces_the_old(registry: Registry) -> None:
    """After a rotation the new key is the source's, and the old one is nobody's."""
    added = await registry.add("bot", KEY)

    warnings = await registry.rotate_key("bot", OTHER_KEY)

    assert () == warnings
    assert OTHER_KEY == await registry.write_key("bot")
    assert [None, "bot", "bot"] == [await registry.find_by_key(key) for key in (KEY, OTHER_KEY, added.intake_key)]


async def test_rotated_key_is_checked(registry: Registry) -> None:
    """A new key is warned of, or refused, like a first one."""
    await registry.add("bot", KEY)

    assert (ODD,) == await registry.rotate_key("bot", "short")
    with pytest.raises(ConfigurationError, match="whitespace"):
        await registry.rotate_key("bot", "a b")
    assert "short" == await registry.write_key("bot")


async def test_rotation_to_the_same_key_keeps_it_found(registry: Registry) -> None:
    """Pasting the same key again changes nothing that can be seen."""
    await registry.add("bot", KEY)

    await registry.rotate_key("bot", KEY)

    assert ("bot", KEY) == (await registry.find_by_key(KEY), await registry.write_key("bot"))


async def test_rotation_repairs_lost_keys(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A source whose keys Redis lost says so, and gets new ones by rotation."""
    await registry.add("bot", KEY)
    await redis.delete(keys.secrets)

    with pytest.raises(ConfigurationError, match="rotate-key bot"):
        await registry.write_key("bot")
    await registry.rotate_key("bot", OTHER_KEY)
    intake = await registry.rotate_intake_key("bot")

    assert ["bot", "bot"] == [await registry.find_by_key(key) for key in (OTHER_KEY, intake)]


async def test_rotation_works_without_the_old_secret(redis: Redis, keys: Keys) -> None:
    """A key that can no longer be decrypted is named, and can be replaced by force, then the intake key too."""
    await Registry(redis, keys, Secrets([OLD])).add("bot", KEY)
    registry = Registry(redis, keys, Secrets([NEW]))

    with pytest.raises(ConfigurationError, match="the write key of source 'bot' cannot be decrypted"):
        await registry.write_key("bot")
    await registry.rotate_key("bot", OTHER_KEY, force=True)
    intake = await registry.rotate_intake_key("bot")

    assert OTHER_KEY == await registry.write_key("bot")
    assert ["bot", "bot"] == [await registry.find_by_key(key) for key in (OTHER_KEY, intake)]


@pytest.mark.parametrize("change", ["check_keys", "rotate_key", "rotate_intake_key", "add"])
async def test_another_secret_cuts_no_worker_off(redis: Redis, keys: Keys, change: str) -> None:
    """A secret that opens none of the stored keys changes nothing, and the error says the two ways out."""
    await Registry(redis, keys, Secrets([OLD])).add("bot", KEY)
    before = await dump(redis)
    registry = Registry(redis, keys, Secrets([NEW]))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "check_keys": lambda: registry.check_keys("bot"),
        "rotate_key": lambda: registry.rotate_key("bot", OTHER_KEY),
        "rotate_intake_key": lambda: registry.rotate_intake_key("bot"),
        "add": lambda: registry.add("other", OTHER_KEY),
    }

    with pytest.raises(ConfigurationError, match=r"'bot' cannot be decrypted.*restore the old secret.* --force"):
        await calls[change]()

    assert before == await dump(redis)


async def test_one_source_of_another_secret_stops_no_add(redis: Redis, keys: Keys) -> None:
    """Sources are added where the secrets open the keys of one source at least."""
    await Registry(redis, keys, Secrets([OLD])).add("theirs", KEY)
    await Registry(redis, keys, Secrets([NEW, OLD])).add("mine", KEY)
    registry = Registry(redis, keys, Secrets([NEW]))

    await registry.add("more", OTHER_KEY)

    assert OTHER_KEY == await registry.write_key("more")


async def test_id_key_stays(registry: Registry, redis: Redis, keys: Keys, secrets: Secrets) -> None:
    """A source's id key is its own, and outlives rotations of the write key, the intake key and the secret."""
    await registry.add("bot", KEY)
    await registry.add("other", OTHER_KEY)
    first = await registry.id_key("bot")
    await registry.rotate_key("bot", "C" * 32)
    await registry.rotate_intake_key("bot")
    await Registry(redis, keys, Secrets([NEW, SECRET])).reencrypt()
    renewed = Registry(redis, keys, Secrets([NEW]))

    assert 32 == len(first)
    assert first == await renewed.id_key("bot")
    assert first != await renewed.id_key("other")


async def test_id_key_is_nowhere_in_clear(registry: Registry, redis: Redis) -> None:
    """What Redis holds does not give the id key away."""
    await registry.add("bot", KEY)

    told = repr(await dump(redis))

    assert (await registry.id_key("bot")).hex() not in told


async def test_id_key_of_an_older_source_is_made_once(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A source without one gets it from the first who asks; of many at once, all get the same."""
    await registry.add("bot", KEY)
    sealed = orjson.loads(await redis.hget(keys.secrets, "bot") or b"")
    del sealed["id_key"]
    await redis.hset(keys.secrets, "bot", orjson.dumps(sealed))

    found = await asyncio.gather(*(registry.id_key("bot") for _ in range(5)))

    assert [await registry.id_key("bot")] * 5 == found
    assert KEY == await registry.write_key("bot")


async def test_id_key_needs_the_secret(redis: Redis, keys: Keys) -> None:
    """Another secret opens no id key, and makes none."""
    await Registry(redis, keys, Secrets([OLD])).add("bot", KEY)
    before = await dump(redis)

    with pytest.raises(ConfigurationError, match=r"the id key of source 'bot' cannot be decrypted"):
        await Registry(redis, keys, Secrets([NEW])).id_key("bot")

    assert before == await dump(redis)


async def test_id_key_lost_with_its_secret_is_made_anew(redis: Redis, keys: Keys) -> None:
    """A write key stored by force leaves a lost id key behind, and says what that means for people's ids."""
    old = Registry(redis, keys, Secrets([OLD]))
    await old.add("bot", KEY)
    before = await old.id_key("bot")
    registry = Registry(redis, keys, Secrets([NEW]))

    kept = await old.rotate_key("bot", KEY, force=True)
    (warning,) = await registry.rotate_key("bot", OTHER_KEY, force=True)

    assert () == kept
    assert "people have other userIds from now on" in warning
    assert before != await registry.id_key("bot")


async def test_add_says_what_user_ids_give_away(registry: Registry) -> None:
    """A source that takes Blip's items with raw identities says that these are phone numbers on WhatsApp."""
    raw = await registry.add("raw", KEY, blip=True)
    hashed = await registry.add("hashed", OTHER_KEY, blip=True, identity="hmac")

    assert "that is the customer's phone number; `pombo sources set raw --identity hmac`" in raw.notices[2]
    assert 2 == len(hashed.notices)


async def test_intake_key_is_rotated(registry: Registry) -> None:
    """A new intake key works at once, the old one no more, the write key still."""
    added = await registry.add("bot", KEY)

    intake = await registry.rotate_intake_key("bot")

    assert added.intake_key.startswith("pik_")
    assert added.intake_key != intake
    found = [await registry.find_by_key(key) for key in (added.intake_key, intake, KEY)]
    assert [None, "bot", "bot"] == found


async def test_keys_find_their_source(registry: Registry) -> None:
    """Write and intake keys lead to their own source, anything else to none."""
    first, second = await registry.add("a", KEY), await registry.add("b", OTHER_KEY)

    found = [await registry.find_by_key(key) for key in (KEY, OTHER_KEY, first.intake_key, second.intake_key)]

    assert ["a", "b", "a", "b"] == found
    assert [None] * 3 == [await registry.find_by_key(key) for key in ("", KEY.lower(), "\ud800")]


async def test_planted_lookup_entry_leads_nowhere(
    registry: Registry, redis: Redis, keys: Keys, secrets: Secrets
) -> None:
    """A lookup entry is believed only if the source itself has that hash."""
    await registry.add("bot", KEY)
    await redis.hset(keys.lookup, mapping={secrets.lookup_hashes("evil")[0]: "bot", secrets.lookup_hashes("x")[0]: "y"})

    assert [None, None] == [await registry.find_by_key(key) for key in ("evil", "x")]


async def test_shared_write_key_passes_on(registry: Registry) -> None:
    """Of two sources with one write key the first is found by it; when it goes, the second is."""
    await registry.add("b", KEY)
    added = await registry.add("a", KEY)

    assert 1 == len(added.warnings)
    assert "source 'b' has the same write key" in added.warnings[0]
    assert "b" == await registry.find_by_key(KEY)
    await registry.rotate_key("b", OTHER_KEY)
    assert "a" == await registry.find_by_key(KEY)
    await registry.remove("a")
    assert None is await registry.find_by_key(KEY)


async def test_every_change_moves_the_version(registry: Registry) -> None:
    """The version moves with each change, and only with changes."""
    versions = [await registry.version()]
    await registry.add("bot", KEY)
    versions.append(await registry.version())
    await registry.set("bot", rate=1)
    versions.append(await registry.version())
    await registry.set("bot", rate=1)
    await registry.get("bot")
    assert versions[-1] == await registry.version()
    await registry.rotate_key("bot", OTHER_KEY)
    versions.append(await registry.version())
    await registry.rotate_intake_key("bot")
    versions.append(await registry.version())
    await registry.remove("bot")
    versions.append(await registry.version())

    assert sorted(set(versions)) == versions


async def test_changes_wake_the_fleet(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Each change publishes the source's name on the wake channel."""
    async with redis.pubsub() as channel:
        await channel.subscribe(keys.wake)
        await registry.add("bot", KEY)
        await registry.set("bot", rate=1)
        await registry.remove("bot")

        heard = [await channel.get_message(timeout=5) for _ in range(4)]

    assert [b"bot"] * 3 == [message["data"] for message in heard[1:] if message]


@pytest.mark.parametrize(
    ("change", "still_parked"),
    [
        ({"region": "eu"}, False),
        ({"endpoint": "http://x"}, False),
        ({"rate": 1}, True),
        ({"region": "us"}, True),
        (None, False),
    ],
)
async def test_what_may_repair_a_source_unparks_it(
    registry: Registry, redis: Redis, keys: Keys, change: dict[str, Any] | None, *, still_parked: bool
) -> None:
    """Another key, region or endpoint ends the park, and nothing else of the source's flow."""
    await registry.add("bot", KEY)
    flow = {b"parked": b"401", b"parked_at": b"5", b"probe_at": b"6", b"paused": b"1"}
    await redis.hset(keys.of("bot").flow, mapping=flow)  # type: ignore[arg-type]

    if change is None:
        await registry.rotate_key("bot", OTHER_KEY)
    else:
        await registry.set("bot", **change)

    repaired = {b"paused": b"1", b"repaired_at_version": b"2"}
    assert (flow if still_parked else repaired) == await redis.hgetall(keys.of("bot").flow)


async def test_unpark_wakes_the_fleet(registry: Registry, redis: Redis, keys: Keys) -> None:
    """The end of a park is published, and told from there being none."""
    await redis.hset(keys.of("bot").flow, "parked", "401")
    async with redis.pubsub() as channel:
        await channel.subscribe(keys.wake)
        results = [await registry.unpark("bot"), await registry.unpark("bot")]
        heard = [await channel.get_message(timeout=5) for _ in range(2)]

    assert [True, False] == results
    assert b"bot" == (heard[1] or {})["data"]


async def test_key_can_be_rotated_when_redis_is_full(registry: Registry, redis: Redis, keys: Keys) -> None:
    """At maxmemory a parked source gets its new key and workers read it, so that it drains."""
    await registry.add("bot", KEY)
    await redis.hset(keys.of("bot").flow, "parked", "401")
    await redis.config_set("maxmemory", "1")
    try:
        await registry.rotate_key("bot", OTHER_KEY)
        key, snapshot = await registry.write_key("bot"), await registry.snapshot()
    finally:
        await redis.config_set("maxmemory", "0")

    assert (OTHER_KEY, ["bot"]) == (key, [*snapshot.sources])
    assert {b"repaired_at_version": b"2"} == await redis.hgetall(keys.of("bot").flow)


async def test_removed_source_leaves_nothing(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Of a removed source no key is left, whatever it was for; other sources keep theirs."""
    await registry.add("bot", KEY, partitions=2)
    await registry.add("bot.2", OTHER_KEY)
    of = keys.of("bot")
    for key in (of.flow, of.rate, of.record(1), of.session("s"), of.ids):
        await redis.hset(key, "x", "y")
    await redis.set(of.lease(0), "w:t")
    await redis.sadd(of.bucket(1, 7), "1")
    await redis.sadd(keys.of("bot.2").bucket(1, 7), "1")

    await registry.remove("bot")

    left = {key async for key in redis.scan_iter()}
    others = (keys.sources, keys.secrets, keys.lookup, keys.version, keys.of("bot.2").ledger)
    assert {key.encode() for key in (*others, keys.of("bot.2").bucket(1, 7))} == left
    assert [2, 1, 1] == [await redis.hlen(key) for key in (keys.lookup, keys.sources, keys.secrets)]
    assert ["bot.2"] == [source.name for source in await registry.list()]


async def test_source_with_events_is_not_removed(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A source that holds events stays, with everything, unless they are to be discarded."""
    added = await registry.add("bot", KEY)
    await append(redis, keys, added.source)
    before = await dump(redis)

    with pytest.raises(SourceNotEmptyError, match=r"3 queued, 0 in flight, 0 dead \(1 entries stored\).*--discard"):
        await registry.remove("bot")

    assert before == await dump(redis)
    await registry.remove("bot", discard=True)
    assert {keys.version.encode()} == {key async for key in redis.scan_iter()}


@pytest.mark.parametrize("counter", ["queued", "in_flight", "dead"])
async def test_ledger_alone_keeps_a_source(registry: Registry, redis: Redis, keys: Keys, counter: str) -> None:
    """Events that only the ledger knows of keep a source too."""
    await registry.add("bot", KEY)
    await redis.hset(keys.of("bot").ledger, counter, 1)

    with pytest.raises(SourceNotEmptyError, match=f"1 {counter.replace('_', ' ')}"):
        await registry.remove("bot")


async def test_uncounted_dead_letters_keep_a_source(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Stored events that the ledger lost are not removed by the way."""
    await registry.add("bot", KEY)
    await redis.xadd(keys.of("bot").dead, {"h": "{}"})

    with pytest.raises(SourceNotEmptyError, match="1 entries stored"):
        await registry.remove("bot")


async def test_the_table_of_its_letters_goes_with_a_source(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Neither it nor a new one in the making stays behind."""
    source = (await registry.add("bot", KEY)).source
    await put(redis, keys, letter(), source=source)
    assert await Draft(redis, keys.of("bot"), "n" * 32).begin()
    assert 5 == await redis.exists(keys.of("bot").dead, *of_letters(keys))

    await registry.remove("bot", discard=True)

    assert 0 == await redis.exists(keys.of("bot").dead, *of_letters(keys))


def of_letters(keys: Keys) -> list[str]:
    """The keys that follow the dead letters."""
    of = keys.of("bot")
    return [of.dead_table, of.dead_groups, *of.dead_draft]


async def test_appends_to_a_removed_source_are_unknown(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A producer that has not heard of the removal is refused, also when the name was added again."""
    old = (await registry.add("bot", KEY)).source
    await registry.remove("bot")

    assert [b"unknown"] == await append(redis, keys, old)
    await registry.add("bot", KEY)
    assert [b"unknown"] == await append(redis, keys, old)


async def test_removal_can_be_repeated(registry: Registry, redis: Redis, keys: Keys) -> None:
    """A removal that ended after the data went is finished by the next one."""
    await registry.add("bot", KEY)
    await redis.delete(keys.of("bot").ledger)

    await registry.remove("bot")

    assert {keys.version.encode()} == {key async for key in redis.scan_iter()}


async def test_reencryption_retires_the_old_secret(redis: Redis, keys: Keys) -> None:
    """After re-encryption the newest secret alone reads and finds everything; a repeat has nothing to do."""
    old = Registry(redis, keys, Secrets([OLD]))
    added = [await old.add("a", KEY), await old.add("b", OTHER_KEY)]
    both, new = Registry(redis, keys, Secrets([NEW, OLD])), Registry(redis, keys, Secrets([NEW]))
    assert None is await new.find_by_key(KEY)
    assert "a" == await both.find_by_key(KEY)

    assert [2, 0] == [await both.reencrypt(), await both.reencrypt()]

    wanted = [KEY, added[0].intake_key, OTHER_KEY, added[1].intake_key]
    assert ["a", "a", "b", "b"] == [await new.find_by_key(key) for key in wanted]
    assert [KEY, OTHER_KEY] == [await new.write_key(name) for name in ("a", "b")]
    assert [None] * 4 == [await old.find_by_key(key) for key in wanted]
    assert 4 == await redis.hlen(keys.lookup)


async def test_reencryption_stops_at_a_lost_secret(redis: Redis, keys: Keys) -> None:
    """A key of a secret that is not given is named, and stays as it is."""
    await Registry(redis, keys, Secrets([OLD])).add("bot", KEY)
    before = await dump(redis)

    with pytest.raises(ConfigurationError, match=r"the write key of source 'bot'.*restore the old secret"):
        await Registry(redis, keys, Secrets([NEW])).reencrypt()

    assert before == await dump(redis)


async def test_snapshot_names_what_it_cannot_read(registry: Registry, redis: Redis, keys: Keys) -> None:
    """Sources of an unknown version are named, left as they are and no obstacle to the others."""
    added = await registry.add("bot", KEY)
    await redis.hset(keys.sources, "future", '{"v":2,"name":"future"}')
    before = await dump(redis)

    snapshot = await registry.snapshot()

    assert ({"bot": added.source}, ("future",), 1) == (
        snapshot.sources,
        snapshot.unreadable,
        snapshot.version,
    )
    assert [added.source] == await registry.list()
    for call in (registry.get("future"), registry.set("future", rate=1), registry.remove("future")):
        with pytest.raises(StoredVersionError, match=r"'future'.*upgrade pombo"):
            await call
    assert before == await dump(redis)


async def test_empty_registry(registry: Registry) -> None:
    """Without sources everything is empty, at version 0."""
    snapshot = await registry.snapshot()

    assert (0, {}, ()) == (snapshot.version, snapshot.sources, snapshot.unreadable)
    assert 0 == await registry.version()
