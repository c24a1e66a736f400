import asyncio
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from pombo.ops.fleetmetrics import FleetCollector, families, fleet_registry
from pombo.ops.servermetrics import ServerReading, digest
from pombo.shared import batches
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import REASONS, Filter
from pombo.shared.flow import pause
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from pombo.worker.jobs import enqueue_redrive
from pombo.worker.membership import PACE

# Design §7.6, "Console, and `up`".
CONTRACT = """
pombo_accepted_events_total{source,type} pombo_delivered_events_total{source} pombo_deduplicated_events_total{source}
pombo_dead_events_total{source,reason} pombo_discarded_events_total{source} pombo_queue_events{source}
pombo_queue_bytes{source} pombo_in_flight_events{source} pombo_oldest_event_age_seconds{source}
pombo_dead_letters{source,reason} pombo_hold_seconds{source} pombo_source_state{source,state}
pombo_send_rate_limit{source} pombo_workers pombo_partitions_unowned{source} pombo_ledger_imbalance{source}
"""
# What alerts and dashboards need beside.
BESIDE = """
pombo_queue_limit_bytes{source} pombo_lost_events{source} pombo_dead_letter_bytes{source}
pombo_dead_letter_limit_bytes{source} pombo_partitions_blocked{source} pombo_last_success_age_seconds{source}
pombo_losses_noted pombo_redis_up pombo_redis_round_trip_seconds pombo_redis_memory_bytes
pombo_redis_memory_limit_bytes pombo_redis_clients pombo_redis_append_only pombo_redis_last_write_ok
pombo_redis_commands_total pombo_redis_evicted_keys_total pombo_jobs{state} pombo_job_workers
"""


class Clock:
    """A clock that stands until it is told otherwise."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
async def bot(redis: AsyncRedis, keys: Keys, secrets: Secrets) -> str:
    """A source with 4 partitions that has been through a lot, and whose ledger balances but for one event."""
    source = (await Registry(redis, keys, secrets).add("bot", "k" * 32, partitions=4, rate=500)).source
    of = keys.of("bot")
    batch = batches.encode([b'{"messageId":"m1"}', b'{"messageId":"m2"}'])
    for sequence, partition in enumerate((0, 1), 1):
        args: list[Any] = [source.incarnation, sequence, 0, 3600, keys.wake, "track=1,page=1", f"bot/{partition}"]
        args += [batch.events, batch.raw, batch.payload]
        reply = await script("append").acall(redis, [of.ledger, of.session("s"), of.stream(partition)], args)
        assert b"ok" == reply[0]
    counts = {"accepted": 20, "delivered": 9, "deduplicated": 3, "dead": 4, "discarded": 2, "erased": 1, "in_flight": 2}
    counts |= {"died:poison": 5, "died:expired": 1, "dead:poison": 3, "dead:expired": 1}
    for name, count in counts.items():
        await redis.hincrby(of.ledger, name, count)
    seconds, _ = await redis.time()
    await redis.hset(of.flow, "hold_until", str((seconds + 3000) * 1000))
    return "bot"


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.model_construct(redis_url=redis_url)


def beat(redis: Redis, worker: str, number: int) -> None:
    """Describe a worker as its beat does."""
    redis.hset(Keys().workers, worker, orjson.dumps({"v": 1, "beat": number, "pid": 1, "partitions": 1}))


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """What a scrape shows, by name and labels."""
    lines = generate_latest(registry).decode().splitlines()
    rows = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def sample(metrics: Iterable[Metric], name: str) -> float:
    """The one sample of that name."""
    (found,) = [s.value for metric in metrics for s in metric.samples if s.name == name]
    return float(found)


def test_names_and_labels_are_the_contract(settings: Settings, secrets: Secrets, bot: str, sync_redis: Redis) -> None:
    """Every metric of the contract, and of those beside it, is there with its labels, and nothing else."""
    sync_redis.hset(Keys().of(bot).flow, "last_success", "1")
    told = set()
    for name in shown(fleet_registry(settings, secrets)):
        labels = re.findall(r'(\w+)="', name)
        told.add((name.partition("{")[0], frozenset(labels)))

    expected = set()
    for metric in (CONTRACT + BESIDE).split():
        name, _, inside = metric.partition("{")
        expected.add((name, frozenset(inside.rstrip("}").split(",")) - {""}))
    assert expected == told


def test_values_are_the_ledgers(settings: Settings, secrets: Secrets, bot: str) -> None:
    """Counters and gauges show what the ledger, the flow and the streams say."""
    values = {
        name: value
        for name, value in shown(fleet_registry(settings, secrets)).items()
        if not name.startswith(("pombo_redis_", "pombo_job")) and (value or "pombo_dead_events" not in name)
    }
    hold = values.pop('pombo_hold_seconds{source="bot"}')
    age = values.pop('pombo_oldest_event_age_seconds{source="bot"}')
    size = values.pop('pombo_queue_bytes{source="bot"}')

    assert {
        'pombo_accepted_events_total{source="bot",type="track"}': 2,
        'pombo_accepted_events_total{source="bot",type="page"}': 2,
        'pombo_delivered_events_total{source="bot"}': 9,
        'pombo_deduplicated_events_total{source="bot"}': 3,
        'pombo_dead_events_total{reason="poison",source="bot"}': 5,
        'pombo_dead_events_total{reason="expired",source="bot"}': 1,
        'pombo_discarded_events_total{source="bot"}': 2,
        'pombo_queue_events{source="bot"}': 4,
        'pombo_in_flight_events{source="bot"}': 2,
        'pombo_dead_letters{reason="poison",source="bot"}': 3,
        'pombo_dead_letters{reason="expired",source="bot"}': 1,
        'pombo_source_state{source="bot",state="active"}': 0,
        'pombo_source_state{source="bot",state="held"}': 1,
        'pombo_source_state{source="bot",state="parked"}': 0,
        'pombo_source_state{source="bot",state="paused"}': 0,
        'pombo_source_state{source="bot",state="broken"}': 0,
        'pombo_send_rate_limit{source="bot"}': 500,
        'pombo_ledger_imbalance{source="bot"}': -1,
        'pombo_partitions_unowned{source="bot"}': 2,
        "pombo_workers": 0,
        'pombo_queue_limit_bytes{source="bot"}': 1 << 30,
        'pombo_dead_letter_bytes{source="bot"}': 0,
        'pombo_dead_letter_limit_bytes{source="bot"}': 256 << 20,
        'pombo_partitions_blocked{source="bot"}': 0,
        'pombo_lost_events{source="bot"}': 0,
        "pombo_losses_noted": 0,
    } == values
    assert 2900 < hold <= 3000
    assert age >= 0
    assert size > 0


def test_what_redis_forgot_is_an_imbalance(settings: Settings, secrets: Secrets, bot: str, sync_redis: Redis) -> None:
    """Until a loss is acknowledged the books do not balance."""
    name = 'pombo_ledger_imbalance{source="bot"}'
    before = shown(fleet_registry(settings, secrets))[name]
    sync_redis.hset(Keys().of("bot").ledger, mapping={"forgotten": 37, "fallen": 5})
    values = shown(fleet_registry(settings, secrets))
    assert before + 37 == values[name]
    assert 37 == values['pombo_lost_events{source="bot"}']


def test_reasons_count_from_nought(settings: Settings, secrets: Secrets, bot: str) -> None:
    """Every reason to die has its counter before the first death, or that would be no increase to alert on."""
    values = shown(fleet_registry(settings, secrets))
    died = {reason: values[f'pombo_dead_events_total{{reason="{reason}",source="bot"}}'] for reason in REASONS}
    assert dict.fromkeys(REASONS, 0) | {"poison": 5, "expired": 1} == died


async def test_a_scrape_reads_anew(
    redis: AsyncRedis, keys: Keys, settings: Settings, secrets: Secrets, bot: str
) -> None:
    """What happened since the last scrape is in the next one; a source without rate limit or hold shows 0."""
    collector = FleetCollector(settings, secrets)
    assert 500 == sample(families(await collector._read()), "pombo_send_rate_limit")
    await redis.delete(keys.of("bot").flow)
    await pause(redis, keys, "bot")
    await Registry(redis, keys, secrets).set("bot", rate=0)

    metrics = families(await collector._read())
    assert 0 == sample(metrics, "pombo_hold_seconds") == sample(metrics, "pombo_send_rate_limit")
    states = {s.labels["state"]: s.value for m in metrics for s in m.samples if s.name == "pombo_source_state"}
    assert {"active": 0, "held": 0, "parked": 0, "paused": 1, "broken": 0} == states


def test_registering_reads_nothing(secrets: Secrets) -> None:
    """The names are known without any Redis, so that a process starts before it."""
    nowhere = Settings.model_construct(redis_url="unix:///nowhere/s")
    described = [*FleetCollector(nowhere, secrets).describe()]

    assert len((CONTRACT + BESIDE).split()) == len(described)
    assert [] == [sample for metric in described for sample in metric.samples]
    fleet_registry(nowhere, secrets)


def test_without_redis_that_alone_is_shown(secrets: Secrets) -> None:
    """Where nothing can be read nothing is shown but that: no zeros that an alert would take for good."""
    nowhere = Settings.model_construct(redis_url="unix:///nowhere/s")

    assert {"pombo_redis_up": 0} == shown(fleet_registry(nowhere, secrets))
    assert 0 == sample(FleetCollector(nowhere, secrets).collect(), "pombo_redis_up")


def test_what_redis_says_of_itself(settings: Settings, secrets: Secrets, bot: str, sync_redis: Redis) -> None:
    """Memory, its limit, clients and persistence are the server's own figures."""
    sync_redis.config_set("maxmemory", 1 << 30)
    try:
        values = shown(fleet_registry(settings, secrets))
    finally:
        sync_redis.config_set("maxmemory", 0)
    assert 1 << 30 == values["pombo_redis_memory_limit_bytes"]
    assert 0 < values["pombo_redis_memory_bytes"] < 1 << 30
    assert (1, 0, 1) == tuple(values[f"pombo_redis_{name}"] for name in ("up", "append_only", "last_write_ok"))
    assert 0 < values["pombo_redis_round_trip_seconds"] < 5
    assert values["pombo_redis_clients"] >= 1


def test_a_clusters_fullest_server_counts() -> None:
    """Of several servers memory is that of the fullest, counts are sums, and one that fails spoils it for all."""
    infos: list[dict[str, Any]] = [
        {"used_memory": 90, "maxmemory": 1000, "evicted_keys": 1, "total_commands_processed": 5, "aof_enabled": 1},
        {"used_memory": 80, "maxmemory": 100, "evicted_keys": 2, "aof_enabled": 1, "aof_last_write_status": "err"},
    ]
    expected = ServerReading(0.5, 80, 100, evicted=3, commands=5, clients=0, appends=True, writes_well=False)
    assert expected == digest(infos, 0.5)


def test_jobs_are_counted_by_state(settings: Settings, secrets: Secrets, bot: str, sync_redis: Redis) -> None:
    """Queued jobs are counted; where no job ran, all other states are 0."""
    enqueue_redrive(sync_redis, "bot", Filter(), namespace="pombo")
    values = shown(fleet_registry(settings, secrets))
    states = {state: values[f'pombo_jobs{{state="{state}"}}'] for state in ("queued", "running", "scheduled", "failed")}
    assert {"queued": 1, "running": 0, "scheduled": 0, "failed": 0} == states
    assert 0 == values["pombo_job_workers"]


async def test_losses_of_the_fleet_and_what_is_blocked(
    redis: AsyncRedis, keys: Keys, settings: Settings, secrets: Secrets, bot: str
) -> None:
    """Notes that Redis was emptied count until they are acknowledged, and so do partitions that wait for a person."""
    await redis.xadd(keys.losses, {"kind": "emptied", "worker": "w"})
    await redis.hset(keys.of(bot).flow, "blocked:2", "unreadable")
    metrics = families(await FleetCollector(settings, secrets)._read())
    assert (1, 1) == (sample(metrics, "pombo_losses_noted"), sample(metrics, "pombo_partitions_blocked"))


def test_workers_count_while_they_beat(settings: Settings, secrets: Secrets, sync_redis: Redis) -> None:
    """A worker whose beat has not moved for the takeover time is not counted, until it moves again."""
    clock = Clock()
    collector = FleetCollector(settings, secrets, clock=clock)

    def seen(*beats: int) -> float:
        for worker, number in enumerate(beats):
            beat(sync_redis, f"w{worker}", number)
        return sample(collector.collect(), "pombo_workers")

    assert 2 == seen(1, 1)
    clock.time += PACE.takeover
    assert 1 == seen(2, 1)
    clock.time += PACE.takeover - 1
    assert 1 == seen(2, 1)
    assert 2 == seen(3, 2)


def test_partitions_of_the_silent_are_unowned(
    settings: Settings, secrets: Secrets, sync_redis: Redis, keys: Keys, bot: str
) -> None:
    """A partition with events counts as unowned when its lease is nobody's, or a worker's that is silent."""
    clock = Clock()
    collector = FleetCollector(settings, secrets, clock=clock)
    sync_redis.set(keys.of("bot").lease(0), "w0:token")
    sync_redis.set(keys.of("bot").lease(3), "gone:token")
    beat(sync_redis, "w0", 1)

    assert 1 == sample(collector.collect(), "pombo_partitions_unowned")
    clock.time += PACE.takeover
    assert 2 == sample(collector.collect(), "pombo_partitions_unowned")


async def test_nobody_is_silent_for_redis_having_been_away(
    settings: Settings, secrets: Secrets, redis_url: str, tmp_path: Any
) -> None:
    """Workers cannot beat while Redis is away, so the first scrape afterwards counts them all."""
    clock = Clock()
    away = Settings.model_construct(redis_url=f"unix://{tmp_path}/s")
    collector = FleetCollector(away, secrets, clock=clock)
    link = tmp_path / "s"
    client = aconnect(redis_url)
    await client.hset(Keys().workers, "w", orjson.dumps({"v": 1, "beat": 1}))
    await client.aclose()

    async def workers() -> float:
        return sample(families(await collector._read()), "pombo_workers")

    link.symlink_to(redis_url.removeprefix("unix://"))
    assert 1 == await workers()
    link.unlink()
    clock.time += PACE.takeover
    assert 0 == sample(await asyncio.to_thread(lambda: list(collector.collect())), "pombo_redis_up")
    link.symlink_to(redis_url.removeprefix("unix://"))
    assert 1 == await workers()
