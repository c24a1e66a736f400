"""Whose key is it: the registry's answer, kept for some seconds."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from redis.exceptions import RedisError

from pombo.gateway.answers import Refusal
from pombo.gateway.credentials import unknown_key
from pombo.gateway.lookups import Lookups
from pombo.shared.clock import Clock
from pombo.shared.errors import ConfigurationError, StoredVersionError
from pombo.shared.logs import get_logger
from pombo.shared.registry import KeyOwner, Registry

FRESH_S = 5.0
"""Seconds for which a known key is taken as known: so long a key that was replaced still works."""
UNKNOWN_S = 1.0
"""Seconds for which an unknown key is taken as unknown."""
LOG_EVERY_S = 10.0
"""Seconds between two log lines about a registry that cannot be read."""
ENTRIES = 10_000

log = get_logger("pombo.gateway.keyring")


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: KeyOwner | None
    read_at: float


class Keyring:
    """Find the source of a key.

    While the registry cannot be read, keys that were known stay known: their events can still be spooled.
    What it keeps goes by the keys' digests, so that neither memory nor time tells a key.
    """

    def __init__(self, registry: Registry, clock: Clock, wait_s: Callable[[], int]) -> None:
        self._registry = registry
        self._clock = clock
        self._wait_s = wait_s
        self._entries: dict[bytes, _Entry] = {}
        self._lookups = Lookups[KeyOwner | None]()
        self._checked: int | None = None
        """The version of the registry that is known to be this installation's."""
        self._logged_at = -LOG_EVERY_S

    def known(self, key: str) -> KeyOwner | None:
        """The owner of a key that is certainly still its; None: ask `owner`."""
        entry = self._entries.get(_digest(key))
        if entry is None or self._clock.monotonic() - entry.read_at >= FRESH_S:
            return None
        return entry.owner

    async def owner(self, key: str) -> KeyOwner:
        """The owner of a key.

        Raises:
            Refusal: nobody has it, or that cannot be told.
        """
        name = _digest(key)
        entry = self._entries.get(name)
        age = self._clock.monotonic() - entry.read_at if entry is not None else FRESH_S
        if entry is not None and entry.owner is None and age < UNKNOWN_S:
            raise unknown_key()
        if entry is not None and entry.owner is not None and age < FRESH_S:
            return entry.owner
        try:
            owner = await self._lookups.find(name, partial(self._look_up, name, key))
        except (RedisError, OSError, StoredVersionError, ConfigurationError) as error:
            if entry is not None and entry.owner is not None:
                return entry.owner
            raise self.unreadable(error) from error
        if owner is None:
            raise unknown_key()
        return owner

    def forget(self, key: str) -> None:
        """Look a key up again: its source is not there any more."""
        self._entries.pop(_digest(key), None)

    async def _look_up(self, name: bytes, key: str) -> KeyOwner | None:
        owner = await self._registry.owner_of(key)
        if owner is None:
            await self._check()
        self._entries.pop(name, None)
        self._entries[name] = _Entry(owner, self._clock.monotonic())
        while len(self._entries) > ENTRIES:
            del self._entries[next(iter(self._entries))]
        return owner

    async def _check(self) -> None:
        """Make sure that a key is unknown because nobody has it, rather than because this is another registry.

        Raises:
            ConfigurationError: our secrets open none of the keys there, or no source was ever added.
        """
        version = await self._registry.version()
        if version == 0:
            raise ConfigurationError("Redis holds no source; `pombo sources add` makes one, unless Redis lost them")
        if version != self._checked:
            await self._registry.check_secrets()
            self._checked = version

    def unreadable(self, error: Exception) -> Refusal:
        """The refusal for as long as the registry cannot be read; why goes into the log."""
        now = self._clock.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.warning("registry.unreadable", error=str(error) or type(error).__name__)
        return Refusal(
            503,
            "registry_unreadable",
            "whose key this is cannot be told now: the sources cannot be read; send it again later",
            retry_after_s=self._wait_s(),
        )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
