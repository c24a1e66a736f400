"""The catalogue of every Redis key that pombo reads or writes.

`NS` is the namespace (`POMBO_NAMESPACE`), `S` a source's name, `P` a partition number. All keys of one source
share the hash tag `{S}`, so that one script may touch them on Redis Cluster; names with `@` cannot collide with a
source, whose name holds none.

| key | type | owner | lifetime | meaning |
|---|---|---|---|---|
| `NS:{@registry}:sources` | hash | registry | kept | name → public settings, JSON with `"v"` |
| `NS:{@registry}:secrets` | hash | registry | kept | name → encrypted write key and id key, JSON with `"v"` |
| `NS:{@registry}:lookup` | hash | registry | kept | keyed hash of a write or intake key → name |
| `NS:{@registry}:version` | int | registry | kept | moves at each change of any source; what workers watch |
| `NS:{@fleet}:workers` | hash | workers | until stopped or silent | worker id → JSON with its beat counter |
| `NS:{@fleet}:active` | zset | producers, workers | trimmed by workers | `S/P` → Redis' seconds when last announced |
| `NS:{@fleet}:epoch` | string | workers | kept | made by the first beat: another one means that Redis was emptied |
| `NS:{@fleet}:losses` | stream | workers | until acknowledged, the last 100 | what workers saw Redis lose |
| `NS:{@fleet}:watched` | zset | console | until nobody watches | source → until when its events are told, in s |
| `NS:{@fleet}:trail` | stream | console, CLI | the last 10,000 | who did what |
| `NS:{@fleet}:logins` | stream | console | the last 2,000 | who logged in, and from where it was tried in vain |
| `NS:{@rate.G}:rate` | hash | workers | 2 h and its debt | token bucket of rate group G |
| `NS:{@jobs}:schedule` | hash | job workers | kept | in the Redis of jobs: what is due, and outages that go on |
| `NS:{S}:ledger` | hash | scripts | with the source | incarnation and counters, moved with the data they count |
| `NS:{S}:flow` | hash | workers, operators | with the source | hold, park, pause, breaker, pace, last success |
| `NS:{S}:rate` | hash | workers | 2 h and its debt | token bucket of a source without rate group |
| `NS:{S}:stream:P` | stream | producers, lease holder | with the source | record batches in order |
| `NS:{S}:lease:P` | string | workers | until released | `worker id:fencing token` of the holder |
| `NS:{S}:record:P` | hash | lease holder | until acked | the in-flight record |
| `NS:{S}:session:I` | hash | producer session I | 48 h after use | last sequence, its reply, events accepted |
| `NS:{S}:import:I` | hash | imports | 30 days after use | of one file: the last call, and what it put back |
| `NS:{S}:import:I:lines` | bitmap | imports | 30 days after use | lines of the file that were put back |
| `NS:{S}:ids` | hash | workers | with the source | generations of the idempotency store |
| `NS:{S}:ids:G:B` | set of ints | workers | twice the window | bucket B of generation G |
| `NS:{S}:dead` | stream | workers append, jobs remove | until redriven or discarded | dead letters |
| `NS:{S}:dead:table` | string | scripts | while there are letters | their rows: `deadletters/rows.py` |
| `NS:{S}:dead:groups` | hash | scripts | while there are letters | those alike: `lua/lettertable.lua` |
| `NS:{S}:dead:table:draft` | string | who makes the table anew | 30 s after its last step | the table in the making |
| `NS:{S}:dead:groups:draft` | hash | who makes the table anew | 30 s after its last step | the groups in the making |
| `NS:{S}:recoveries` | string | jobs | with the source | when automatic redrives ran, JSON |
| `NS:{S}:losses` | stream | producers, workers | until acknowledged, the last 100 | what Redis forgot of the source |
| `NS:{S}:history` | list | workers, console | 25 h after the last sample, 91 | samples of its charts, one in 10 s |
| `NS:{S}:history:day` | list | workers, console | 25 h after the last sample, 289 | the same, summed up by 5 min |
| `NS:{S}:tail` | stream | workers | 5 min, the last 1,000 | events and their fates, while somebody watches |
| `NS:wake` | channel | scripts publish | – | `S/P`: a partition got its first entry; `S`: flow changed |
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Name the keys that belong to the whole installation."""

    namespace: str = "pombo"

    @property
    def sources(self) -> str:
        return f"{self.namespace}:{{@registry}}:sources"

    @property
    def secrets(self) -> str:
        return f"{self.namespace}:{{@registry}}:secrets"

    @property
    def lookup(self) -> str:
        return f"{self.namespace}:{{@registry}}:lookup"

    @property
    def version(self) -> str:
        return f"{self.namespace}:{{@registry}}:version"

    @property
    def workers(self) -> str:
        return f"{self.namespace}:{{@fleet}}:workers"

    @property
    def active(self) -> str:
        return f"{self.namespace}:{{@fleet}}:active"

    @property
    def epoch(self) -> str:
        return f"{self.namespace}:{{@fleet}}:epoch"

    @property
    def losses(self) -> str:
        return f"{self.namespace}:{{@fleet}}:losses"

    @property
    def watched(self) -> str:
        return f"{self.namespace}:{{@fleet}}:watched"

    @property
    def trail(self) -> str:
        return f"{self.namespace}:{{@fleet}}:trail"

    @property
    def logins(self) -> str:
        return f"{self.namespace}:{{@fleet}}:logins"

    @property
    def schedule(self) -> str:
        return f"{self.namespace}:{{@jobs}}:schedule"

    @property
    def wake(self) -> str:
        return f"{self.namespace}:wake"

    def group_rate(self, group: str) -> str:
        return f"{self.namespace}:{{@rate.{group}}}:rate"

    def of(self, source: str) -> "SourceKeys":
        return SourceKeys(f"{self.namespace}:{{{source}}}")


@dataclass(frozen=True, slots=True)
class SourceKeys:
    """Name the keys of one source; all carry its hash tag."""

    prefix: str

    @property
    def ledger(self) -> str:
        return f"{self.prefix}:ledger"

    @property
    def flow(self) -> str:
        return f"{self.prefix}:flow"

    @property
    def rate(self) -> str:
        return f"{self.prefix}:rate"

    @property
    def ids(self) -> str:
        return f"{self.prefix}:ids"

    @property
    def dead(self) -> str:
        return f"{self.prefix}:dead"

    @property
    def dead_table(self) -> str:
        return f"{self.dead}:table"

    @property
    def dead_groups(self) -> str:
        return f"{self.dead}:groups"

    @property
    def dead_draft(self) -> tuple[str, str]:
        """The table and the groups in the making."""
        return f"{self.dead_table}:draft", f"{self.dead_groups}:draft"

    @property
    def recoveries(self) -> str:
        return f"{self.prefix}:recoveries"

    @property
    def losses(self) -> str:
        return f"{self.prefix}:losses"

    @property
    def history(self) -> str:
        return f"{self.prefix}:history"

    @property
    def history_day(self) -> str:
        return f"{self.history}:day"

    @property
    def tail(self) -> str:
        return f"{self.prefix}:tail"

    def stream(self, partition: int) -> str:
        return f"{self.prefix}:stream:{partition}"

    def lease(self, partition: int) -> str:
        return f"{self.prefix}:lease:{partition}"

    def record(self, partition: int) -> str:
        return f"{self.prefix}:record:{partition}"

    def session(self, session: str) -> str:
        return f"{self.prefix}:session:{session}"

    def imported(self, name: str) -> tuple[str, str]:
        """What is remembered of the import of a file, and of which of its lines."""
        return f"{self.prefix}:import:{name}", f"{self.prefix}:import:{name}:lines"

    def buckets(self, generation: int) -> str:
        """What the names of its buckets begin with: a claim makes some thousand of them."""
        return f"{self.ids}:{generation}:"

    def bucket(self, generation: int, bucket: int) -> str:
        return f"{self.buckets(generation)}{bucket}"
