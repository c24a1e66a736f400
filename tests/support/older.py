"""An older state of a server: what a failover to a replica that was behind brings back, in one step."""

from typing import Any

from redis import Redis

State = dict[bytes, tuple[int, Any]]


def keep(redis: Redis) -> State:
    """All that the server holds: key by key, ms to live and contents."""
    kept: dict[bytes, tuple[int, Any]] = {}
    for key in list(redis.scan_iter(count=1000)):
        kept[key] = max(0, int(redis.pttl(key))), redis.dump(key)
    return kept


def bring_back(redis: Redis, state: State) -> None:
    """Have the server hold what it held, and nothing since."""
    with redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, (ttl, contents) in state.items():
            pipe.restore(key, ttl, contents)
        pipe.execute()
