"""What a Redis server can lose, and whether it goes on taking events: judged from INFO and CONFIG.

`INFO` is the truth of what is in force; where a managed server forbids `CONFIG`, a check says what to look at by hand.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pombo.ops.doctor.check import Check
from pombo.ops.wording import age, plural, size

LEAST: Mapping[str, tuple[int, int]] = {"redis": (7, 0), "valkey": (7, 2)}
"""The oldest versions that pombo runs on."""
FULL, NEARLY = 0.9, 0.75
"""Parts of a limit from which it is trouble, and from which it is worth a word."""
APART_S = 2.0
"""Between the clocks of this machine and of Redis; more is a finding."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server as it describes itself."""

    info: Mapping[str, Any]
    config: Mapping[str, str] | None = field(default=None)
    """None when CONFIG is forbidden."""
    node: str | None = None
    """Its address, where there are several."""
    embedded: bool = False
    """Whether it is the one that `pombo up` starts: nobody configures it by hand."""

    @property
    def product(self) -> str:
        """`redis` or `valkey`."""
        return str(self.info.get("server_name") or ("valkey" if "valkey_version" in self.info else "redis"))

    @property
    def version(self) -> str:
        """The product's own version."""
        return str(self.info.get("valkey_version") or self.info.get("redis_version") or "?")

    def number(self, name: str) -> int:
        """A number of INFO; 0 when it is absent."""
        value = self.info.get(name, 0)
        return int(value) if isinstance(value, (int, float)) else 0

    def setting(self, name: str) -> str:
        """A value of CONFIG; empty when it cannot be seen."""
        return str((self.config or {}).get(name, ""))


def server_checks(servers: Sequence[Server]) -> Iterator[Check]:
    """Everything that servers tell about themselves: at once where all tell the same, else of each by its name."""
    for judge in (_version, _role, _eviction, _persistence, _disk, _replicas, _memory, _clients):
        found = [judge(server) for server in servers]
        if len(set(found)) == 1:
            yield found[0]
            continue
        for server, one in zip(servers, found, strict=True):
            yield Check(f"{one.name} of {server.node}", one.ok, one.detail, one.remedy)


def _version(server: Server) -> Check:
    told = f"{server.product.capitalize()} {server.version}"
    least = LEAST.get(server.product)
    digits = re.match(r"(\d+)\.(\d+)", server.version)
    if least is None or digits is None:
        return Check("version", True, f"{told}, which pombo does not know", "see that it is as good as Redis 7.0")
    if (int(digits[1]), int(digits[2])) >= least:
        return Check("version", True, told)
    return Check("version", False, f"{told} is too old", "upgrade it: Redis 7.0 or Valkey 7.2 at least")


def _role(server: Server) -> Check:
    if server.info.get("role") != "slave":
        return Check("role", True, "a primary, which takes writes")
    return Check("role", False, "a replica, which refuses writes", "point POMBO_REDIS_URL to the primary")


def _eviction(server: Server) -> Check:
    policy = str(server.info.get("maxmemory_policy") or server.setting("maxmemory-policy"))
    if policy == "noeviction":
        return Check("eviction", True, "noeviction: when full it refuses, and deletes nothing")
    if not policy:
        return Check("eviction", True, "cannot be seen here", "see that maxmemory-policy is noeviction")
    detail = f"maxmemory-policy is {policy}: at maxmemory it deletes accepted events, remembered ids or settings"
    return Check("eviction", False, detail, "CONFIG SET maxmemory-policy noeviction, and in the server's configuration")


def _persistence(server: Server) -> Check:
    if server.number("loading"):
        return Check("persistence", True, "the server is still loading its data", "look again in a moment")
    if server.number("aof_enabled"):
        return _aof(server.setting("appendfsync"))
    if server.config is None:
        return Check(
            "persistence", True, "no AOF, and what else it keeps cannot be seen: CONFIG is forbidden here",
            "see in the provider's console whether it keeps data over a restart, best with AOF",
        )  # fmt: skip
    remedy = "CONFIG SET appendonly yes, and in the server's configuration"
    if server.setting("save").strip():
        told = f"only snapshots (RDB, {_snapshots(server.setting('save'))}): a crash loses all since the last one"
        return Check("persistence", False, f"{told}; {_changes(server)}", remedy)
    return Check("persistence", False, "none: a restart of Redis loses every event and every source", remedy)


def _aof(fsync: str) -> Check:
    if fsync == "always":
        return Check("persistence", True, "AOF, fsynced at every write: a crash loses nothing that was accepted")
    if fsync == "everysec":
        detail = "AOF, fsynced every second: a crash of its machine can lose up to 2 s of accepted events"
        return Check("persistence", True, detail, "CONFIG SET appendfsync always, if that is too much to lose")
    if fsync == "no":
        detail = "AOF without fsync: a crash of its machine can lose up to about 30 s of accepted events"
        return Check("persistence", False, detail, "CONFIG SET appendfsync everysec, and in the server's configuration")
    return Check("persistence", True, "AOF; how often it is fsynced cannot be seen", "see that appendfsync is not `no`")


def _snapshots(save: str) -> str:
    """`3600 1 300 100` as words."""
    words = save.split()
    rules = zip(words[::2], words[1::2], strict=False)
    return ", ".join(f"every {seconds} s after {changes} changes" for seconds, changes in rules)


def _changes(server: Server) -> str:
    return f"{server.number('rdb_changes_since_last_save'):,} changes now"


def _disk(server: Server) -> Check:
    told = (
        ("rdb_last_bgsave_status", "its last snapshot (RDB)"),
        ("aof_last_write_status", "its last write to the AOF"),
        ("aof_last_bgrewrite_status", "its last rewrite of the AOF"),
    )
    failed = [words for name, words in told if server.info.get(name, "ok") != "ok"]
    if not failed:
        return Check("disk", True, "its last writes to the disk went well")
    return Check("disk", False, f"{' and '.join(failed)} failed", "make room on the server's disk; its log says more")


def _replicas(server: Server) -> Check:
    count, wanted = server.number("connected_slaves"), _int(server.setting("min-replicas-to-write"))
    good = server.number("min_slaves_good_slaves")
    if wanted and good < wanted:
        detail = f"{good} of the {wanted} replicas that min-replicas-to-write asks for follow: writes are refused"
        return Check("replicas", False, detail, "bring the replicas back, or lower min-replicas-to-write")
    if not count:
        return Check("replicas", True, "none: this server alone keeps the events")
    told = f"{plural(count, 'replica')}, asynchronous: a failover can lose what is not there yet"
    if wanted or server.config is None:
        return Check("replicas", True, f"{told}; min-replicas-to-write is {wanted or 'not visible here'}")
    return Check("replicas", True, told, "CONFIG SET min-replicas-to-write 1 bounds that where a primary is cut off")


def _memory(server: Server) -> Check:
    used, most = server.number("used_memory"), server.number("maxmemory")
    if not most:
        return _unlimited(used, server.number("total_system_memory"), embedded=server.embedded)
    told = f"{size(used)} of {size(most)} (maxmemory) used"
    if used >= FULL * most:
        remedy = "let workers drain it, `pombo dead discard`, or raise maxmemory"
        return Check("memory", False, f"{told}: full, or nearly", remedy)
    if used >= NEARLY * most:
        return Check("memory", True, told, "see whether workers keep up, or raise maxmemory")
    return Check("memory", True, told)


def _unlimited(used: int, machine: int, *, embedded: bool) -> Check:
    told = f"{size(used)} used, no maxmemory" + (f", {size(machine)} in its machine" if machine else "")
    ok = not machine or used < NEARLY * machine
    remedy: str | None = "CONFIG SET maxmemory below what the machine has, or its system may kill it when it grows"
    if embedded:
        remedy = None if ok else "let workers drain it, `pombo dead discard`, or give this machine more memory"
    return Check("memory", ok, told, remedy)


def _clients(server: Server) -> Check:
    now, most = server.number("connected_clients"), server.number("maxclients")
    if most and now >= FULL * most:
        return Check("clients", False, f"{now:,} of {most:,} connections taken", "raise the server's maxclients")
    return Check("clients", True, plural(now, "connection") + (f" of {most:,}" if most else ""))


def clock(ahead_s: float) -> Check:
    """Judge how far this machine's clock is ahead of Redis'."""
    if abs(ahead_s) <= APART_S:
        return Check("clock", True, "this machine's and Redis' clocks agree")
    way = "ahead of" if ahead_s > 0 else "behind"
    detail = f"this machine's clock is {age(abs(ahead_s))} {way} Redis'"
    return Check("clock", False, detail, "set both by NTP: events carry the time of the machine that makes them")


def room(servers: Sequence[Server], limits: Sequence[int]) -> Check:
    """Hold what sources may keep in Redis, bytes each and 0 for no limit, against the memory there is."""
    most, wanted = sum(server.number("maxmemory") for server in servers), sum(limits)
    endless = sum(not limit for limit in limits)
    told = f"backlogs and dead letters may take {size(wanted)}" + (f", {endless:,} without limit" if endless else "")
    if not most or (wanted <= most and not endless):
        return Check("room", True, told)
    remedy = "lower --backlog-bytes and --dead-bytes with `pombo sources set`: a full Redis stops every source"
    return Check("room", True, f"{told}; Redis has {size(most)}", remedy)


def _int(text: str) -> int:
    return int(text) if text.isdigit() else 0
