"""The doctor's visit: reads all it can reach at once, and judges it; it ends within seconds and never raises."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.ops.cli.trouble import trouble
from pombo.ops.doctor import endpoints, server
from pombo.ops.doctor.check import Check, Report, failed
from pombo.ops.doctor.fleet import fleet_checks, jobs_check
from pombo.ops.doctor.keys import key_checks, open_keys
from pombo.ops.doctor.local import disabled_check, metrics_checks, read_secrets
from pombo.ops.doctor.losses import losses_check
from pombo.ops.doctor.reading import Installation, read_clock, read_installation, read_servers
from pombo.ops.doctor.sources import source_checks
from pombo.ops.doctor.spool import spool_checks
from pombo.ops.jobcount import count_jobs
from pombo.shared.connection import aconnect, redact, redis_url
from pombo.shared.errors import PomboError
from pombo.shared.redisurl import Kind, read_url
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings, read_settings

REDIS_S = 6.0
"""For everything that is read from Redis."""
ANSWER_S = 2.0
"""For one answer of it."""
_SHAPES: Mapping[Kind, str] = {"server": "one server", "sentinel": "found by Sentinel", "cluster": "a cluster"}


async def visit(settings: Settings | None = None) -> Report:
    """Look at everything; the settings are those of this process unless given."""
    try:
        return Report([*await _look(settings or read_settings())])
    except PomboError as error:
        return Report([failed("settings", str(error), "correct it; `pombo config` shows the settings in force")])


async def _look(settings: Settings) -> list[Check]:
    secrets, secret_check = read_secrets(settings)
    checks, found = await _redis(settings)
    known = {view.name for view in found.views} | {*found.unreadable} if found else None
    if found:
        checks += await _judge(settings, found, secrets, secret_check)
    else:
        checks.append(secret_check)
        if settings.jobs_redis_url:
            checks.append(await _jobs(settings))
    checks += spool_checks(settings, known)
    return [*checks, disabled_check(settings), *metrics_checks(settings.metrics_port)]


async def _redis(settings: Settings) -> tuple[list[Check], Installation | None]:
    """Read Redis: its own checks, and what it holds, as far as it answers."""
    url, checks = redis_url(settings), list[Check]()
    try:
        async with asyncio.timeout(REDIS_S), _connected(url) as redis:
            return checks, await _read(settings, redis, checks)
    except RedisError as error:
        told = str(trouble(error, url, "POMBO_REDIS_URL" if settings.redis_url else None))
    except (TimeoutError, OSError) as error:
        told = f"Redis at {redact(url)} did not answer in time" if isinstance(error, TimeoutError) else str(error)
    except (PomboError, ValueError, UnicodeError, KeyError) as error:
        told = f"what Redis holds cannot be read: {error}"
    return [*checks, failed("data" if checks else "redis", told, "see its log, and `pombo status`")], None


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Redis]:
    redis = aconnect(url, timeout_s=ANSWER_S, connect_timeout_s=ANSWER_S)
    try:
        yield redis
    finally:
        with suppress(RedisError, OSError, TimeoutError):
            await redis.aclose()


async def _read(settings: Settings, redis: Redis, checks: list[Check]) -> Installation:
    servers = await read_servers(redis, embedded=settings.redis_url is None)
    checks.append(reached(redis_url(settings), servers))
    checks.extend(server.server_checks(servers))
    checks.append(server.clock(await read_clock(redis)))
    snapshot = await Registry(redis, settings.keys, Secrets([new_secret()])).snapshot()
    limits = [limit for source in snapshot.sources.values() for limit in (source.backlog_bytes, source.dead_bytes)]
    checks.append(server.room(servers, limits))
    return await read_installation(redis, settings.keys, snapshot)


def reached(url: str, servers: Sequence[server.Server]) -> Check:
    """What answers at a URL; a node of a cluster that is taken for a whole server holds only some of the sources."""
    if read_url(url).kind != "cluster" and any(one.number("cluster_enabled") for one in servers):
        detail = f"{redact(url)} is one node of a cluster: sources whose slots are on others cannot be reached"
        return Check("redis", False, detail, "write POMBO_REDIS_URL as redis+cluster://HOST:PORT")
    return Check("redis", True, f"{redact(url)} answers: {shape(url)}")


def shape(url: str) -> str:
    """What kind of Redis a URL leads to, in words."""
    if url.startswith("unix:"):
        return "a server of this machine, over a Unix socket"
    return _SHAPES[read_url(url).kind] + (", over TLS" if url.startswith("rediss") else "")


async def _judge(settings: Settings, found: Installation, secrets: Secrets | None, secret_check: Check) -> list[Check]:
    sources = [view.source for view in found.views]
    names = endpoints.roots(sources)
    jobs = asyncio.create_task(_jobs(settings))
    answers = await asyncio.to_thread(endpoints.probe, [*names])
    return [
        secret_check,
        *(key_checks(open_keys(sources, found.sealed, secrets)) if secrets else ()),
        *source_checks(found.views, found.unreadable),
        losses_check(found.views, found.losses),
        *endpoints.endpoint_checks(names, answers),
        *fleet_checks(found.workers, found.views, found.unowned, found.now),
        await jobs,
    ]


async def _jobs(settings: Settings) -> Check:
    if not settings.jobs_redis_url and read_url(redis_url(settings)).kind == "cluster":
        detail = "RQ does not run on a cluster, and POMBO_JOBS_REDIS_URL is not set: no redrives, no exports"
        return Check("jobs", False, detail, "set POMBO_JOBS_REDIS_URL to a Redis without cluster, everywhere")
    url = settings.jobs_redis_url or redis_url(settings)
    try:
        return jobs_check(await asyncio.to_thread(count_jobs, url))
    except (RedisError, OSError, PomboError) as error:
        told = str(trouble(error, url, "POMBO_JOBS_REDIS_URL") if isinstance(error, RedisError) else error)
        return failed("jobs", told, "see POMBO_JOBS_REDIS_URL")
