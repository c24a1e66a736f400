"""The registry of sources, and its only writer.

A change is one script over the `{@registry}` keys: settings, sealed keys, lookup and version move together,
and the source's name goes out on the wake channel. What lies in the source's own slot is a second step that
may be repeated: the ledger is made before a source is registered, its data is removed before it is taken out.
"""

import builtins
import hmac
import secrets as randomness
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, Unpack

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, TimeoutError

from pombo.shared.errors import (
    ConfigurationError,
    SourceExistsError,
    SourceNotEmptyError,
    StoredVersionError,
    UnknownSourceError,
)
from pombo.shared.keys import Keys
from pombo.shared.options import (
    PROOF_NOTICE,
    Options,
    check_options,
    check_write_key,
    destination,
    identity_notice,
    key_warnings,
    merged,
    validated,
)
from pombo.shared.scripts import Argument, paired, script
from pombo.shared.secrets import SealedKeys, Secrets, digest, new_id_key
from pombo.shared.sources import Source

INTAKE_PREFIX = "pik_"

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Added:
    """A source just added. The intake key can be read here once, and nowhere later."""

    source: Source
    intake_key: str = field(repr=False)
    warnings: tuple[str, ...]
    """What looks wrong about the write key."""
    notices: tuple[str, ...]
    """Where the events go, what a 200 of Segment does not prove, and what userIds give away."""


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """The source that a key belongs to, and which of its keys it is."""

    source: str
    kind: Literal["intake", "write"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sources at one version of the registry."""

    version: int
    sources: dict[str, Source]
    unreadable: tuple[str, ...] = ()
    """Names of sources stored in a form that this pombo does not know; they are left alone."""


@dataclass(frozen=True, slots=True)
class _Stored:
    settings: bytes
    sealed: bytes
    """Empty when the source has no keys: Redis lost them."""


class Registry:
    """Add, change, find and remove sources.

    Every method raises what the Redis client raises when Redis is away; a change whose reply was lost can be
    looked up with `get` and repeated.
    """

    def __init__(self, redis: Redis, keys: Keys, secrets: Secrets) -> None:
        self._redis = redis
        self._keys = keys
        self._secrets = secrets

    async def add(self, name: str, write_key: str, *, partitions: int = 8, **options: Unpack[Options]) -> Added:
        """Register a source and make its ledger and its intake key.

        Raises:
            ConfigurationError: the name, the key or an option cannot be used, or the secrets open the keys of
                none of the sources there are; nothing was written.
            SourceExistsError: a source has that name; it is as it was.
        """
        given = {"name": name, "incarnation": "?", "partitions": partitions, **check_options(name, options)}
        source = validated(name, given)
        check_write_key(write_key)
        warnings = await self._warnings(name, write_key)
        if await self._redis.hexists(self._keys.sources, name):
            raise _exists(name)
        await self.check_secrets()
        source = source.model_copy(update={"incarnation": await self._ledger(name)})
        intake_key = INTAKE_PREFIX + randomness.token_urlsafe(32)
        sealed = SealedKeys.seal(self._secrets, write_key, digest(intake_key), new_id_key())
        reply = await self._register(name, source, sealed)
        if reply[0] != b"ok":
            raise _exists(name)
        notices = (destination(source), PROOF_NOTICE, identity_notice(source))
        return Added(source, intake_key, warnings, tuple(filter(None, notices)))

    async def get(self, name: str) -> Source:
        """One source's settings.

        Raises:
            UnknownSourceError: there is none; the message lists names that are close.
            StoredVersionError: it is stored in a form that this pombo does not know.
        """
        return Source.load(name, (await self._read(name)).settings)

    async def write_key(self, name: str) -> str:
        """The source's write key in clear.

        Raises:
            UnknownSourceError: there is no such source.
            ConfigurationError: it cannot be decrypted, or Redis lost it.
        """
        sealed = _sealed(name, await self._read(name))
        return self._secrets.decrypt(sealed.write_key, what=f"the write key of source {name!r}")

    async def id_key(self, name: str) -> bytes:
        """The key that makes a source's hashed ids of people and messages.

        It stays when the secret, the write key or the intake key is rotated, so that a person's id stays too. The
        first who asks for the key of a source that has none makes it.

        Raises:
            UnknownSourceError: there is no such source.
            ConfigurationError: the keys were encrypted with another secret, or Redis lost them.
        """
        sealed = _sealed(name, await self._read(name))
        if not sealed.id_key:
            _, after = await self._change(name, partial(self._with_id_key, name, self._secrets.encrypt(new_id_key())))
            sealed = _sealed(name, after)
        return bytes.fromhex(sealed.open_id_key(self._secrets, name))

    async def set(self, name: str, **changes: Unpack[Options]) -> Source:
        """Change settings of a source; another region, endpoint or bound of its dead letters also ends its park.

        Raises:
            ConfigurationError: a change cannot be made; nothing was written.
            UnknownSourceError: there is no such source.
        """
        options = check_options(name, changes)
        before, after = await self._change(
            name, lambda stored: replace(stored, settings=merged(name, stored.settings, options))
        )
        old, new = Source.load(name, before.settings), Source.load(name, after.settings)
        if (new.url, new.dead_bytes) != (old.url, old.dead_bytes):
            await self.unpark(name)
        return new

    async def check_keys(self, name: str) -> None:
        """See that the secrets open the source's keys; what was sealed with others would cut its workers off.

        Raises:
            UnknownSourceError: there is no such source.
            ConfigurationError: they were encrypted with another secret.
        """
        self._open(name, (await self._read(name)).sealed)

    async def rotate_key(self, name: str, new_write_key: str, *, force: bool = False) -> tuple[str, ...]:
        """Replace the write key, end the source's park, and return what looks wrong about the new key.

        Args:
            name: of the source.
            new_write_key: in clear.
            force: replace it too when the old one was encrypted with another secret, because that is lost: workers
                need ours from then on.

        Raises:
            ConfigurationError: the key is empty or holds whitespace or control characters, or the old one was
                encrypted with another secret and `force` is False; nothing was written.
            UnknownSourceError: there is no such source.
        """
        check_write_key(new_write_key)
        warnings = await self._warnings(name, new_write_key)
        intake_digest = digest(randomness.token_urlsafe(32))
        fresh = SealedKeys.seal(self._secrets, new_write_key, intake_digest, new_id_key())

        def step(stored: _Stored) -> _Stored:
            if not stored.sealed:
                return replace(stored, sealed=fresh.dump())
            if not force:
                self._open(name, stored.sealed)
            old = SealedKeys.load(name, stored.sealed)
            id_key = old.id_key if self._opens_id_key(name, old) else ""
            sealed = replace(old, write_key=fresh.write_key, write_hash=fresh.write_hash, id_key=id_key)
            return replace(stored, sealed=sealed.dump())

        before, after = await self._change(name, step)
        await self.unpark(name)
        return (*warnings, *_loss_of_ids(name, before, after))

    async def rotate_intake_key(self, name: str) -> str:
        """Make a new intake key and return it, once; the old one is refused from now on.

        Raises:
            UnknownSourceError: there is no such source.
            ConfigurationError: its keys were encrypted with another secret, or Redis lost them.
        """
        intake_key = INTAKE_PREFIX + randomness.token_urlsafe(32)
        fresh = SealedKeys.seal(self._secrets, "", digest(intake_key))

        def step(stored: _Stored) -> _Stored:
            self._open(name, stored.sealed)
            old = _sealed(name, stored)
            sealed = replace(old, intake_digest=fresh.intake_digest, intake_hash=fresh.intake_hash)
            return replace(stored, sealed=sealed.dump())

        await self._change(name, step)
        return intake_key

    async def find_by_key(self, key: str) -> str | None:
        """The name of the source that a write or intake key belongs to; None for a key that nobody has."""
        owner = await self.owner_of(key)
        return None if owner is None else owner.source

    async def owner_of(self, key: str) -> KeyOwner | None:
        """Whose write or intake key this is; None for a key that nobody has."""
        hashes = self._secrets.lookup_hashes(key)
        for wanted, found in zip(hashes, await self._redis.hmget(self._keys.lookup, hashes), strict=True):
            name = _text(found)
            if name is not None and (kind := await self._kind_of(name, wanted)):
                return KeyOwner(name, kind)
        return None

    async def remove(self, name: str, *, discard: bool = False) -> None:
        """Remove a source with all its keys in Redis; a removal that was cut short can be repeated.

        Raises:
            UnknownSourceError: there is no such source.
            SourceNotEmptyError: it holds events and `discard` is False; nothing was removed.
        """
        source = await self.get(name)
        await self._empty(source, discard=discard)
        async for key in self._redis.scan_iter(match=f"{self._keys.of(name).prefix}:*", count=1000):
            await self._redis.unlink(key)
        await self._run("source_remove", name, self._keys.wake)

    async def reencrypt(self) -> int:
        """Bring all keys under the newest secret; return how many sources that changed.

        After it returned, the older secrets can be taken out of `POMBO_SECRET_KEY`; a repeat returns 0.

        Raises:
            ConfigurationError: a key was encrypted with none of the secrets; the sources before it are done.
        """
        changed = 0
        for name in (await self.snapshot()).sources:
            before, after = await self._change(name, partial(self._resealed, name))
            changed += after != before
        return changed

    async def version(self) -> int:
        """The version of the registry: another number after every change."""
        return int(await self._redis.get(self._keys.version) or 0)

    async def snapshot(self) -> Snapshot:
        """All sources and the version, read at one moment."""
        keys = [self._keys.sources, self._keys.version]
        version, stored = await script("snapshot").acall(self._redis, keys, [])
        return _snapshot(version, paired(stored))

    async def list(self) -> builtins.list[Source]:
        """All readable sources by name; `snapshot` names the unreadable ones."""
        return [*(await self.snapshot()).sources.values()]

    async def unpark(self, name: str) -> bool:
        """End a source's park, if it is parked, and wake the workers."""
        args: list[Argument] = [self._keys.wake, name, await self.version()]
        return bool(await script("unpark").acall(self._redis, [self._keys.of(name).flow], args))

    async def _ledger(self, name: str) -> str:
        """Make the source's ledger, or take the one that an unfinished `add` left; return its incarnation."""
        ledger = self._keys.of(name).ledger
        await self._redis.hsetnx(ledger, "incarnation", randomness.token_hex(8))
        incarnation = _text(await self._redis.hget(ledger, "incarnation"))
        assert incarnation is not None
        return incarnation

    async def _register(self, name: str, source: Source, sealed: SealedKeys) -> Any:
        """Run the script, and once more when its reply was lost: the intake key can be shown only now."""
        args = (name, source.dump(), sealed.dump(), self._keys.wake)
        try:
            return await self._run("source_add", *args)
        except (ConnectionError, TimeoutError):
            return await self._run("source_add", *args)

    async def check_secrets(self) -> None:
        """See that our secrets are those of this installation: they open the keys of one source at least.

        Raises:
            ConfigurationError: there are sources, and they open the keys of none.
        """
        failure: ConfigurationError | None = None
        for name, sealed in (await self._redis.hgetall(self._keys.secrets)).items():
            try:
                self._open(str(_text(name)), _bytes(sealed))
            except StoredVersionError:
                continue
            except ConfigurationError as error:
                failure = failure or error
            else:
                return
        if failure:
            raise failure

    def _open(self, name: str, sealed: bytes) -> None:
        """Raise ConfigurationError if there is a write key and none of the secrets decrypts it."""
        if not sealed:
            return
        try:
            self._secrets.decrypt(SealedKeys.load(name, sealed).write_key, what=f"the write key of source {name!r}")
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}; if that is lost for good, `pombo sources rotate-key {name} --force` stores a new write key"
            ) from None

    async def _warnings(self, name: str, write_key: str) -> tuple[str, ...]:
        other = await self.find_by_key(write_key)
        shared = (
            f"source {other!r} has the same write key, and the gateway takes that key for {other!r}; "
            f"use the intake key to reach {name!r}"
        )
        return (*key_warnings(write_key), *([shared] if other not in {None, name} else []))

    async def _read(self, name: str) -> _Stored:
        keys = [self._keys.sources, self._keys.secrets]
        settings, sealed = await script("source_read").acall(self._redis, keys, [name])
        if settings is None:
            raise unknown_source(name, [str(_text(key)) for key in await self._redis.hkeys(self._keys.sources)])
        return _Stored(settings, sealed)

    async def _change(self, name: str, step: Callable[[_Stored], _Stored]) -> tuple[_Stored, _Stored]:
        """Replace what is stored by what `step` makes of it, again when somebody else was faster."""
        for _ in range(_TRIES):
            before = await self._read(name)
            after = step(before)
            if after == before:
                return before, after
            args = (before.settings, before.sealed, after.settings, after.sealed, self._keys.wake)
            if (await self._run("source_change", name, *args))[0] == b"ok":
                return before, after
        raise ConfigurationError(f"source {name!r} is being changed by others all the time; try again")

    async def _kind_of(self, name: str, wanted: str) -> Literal["intake", "write"] | None:
        """Which of a source's keys has this hash."""
        stored = await self._redis.hget(self._keys.secrets, name)
        if stored is None:
            return None
        sealed = SealedKeys.load(name, _bytes(stored))
        # Both are compared always, so that the time tells nothing about which one was close.
        write = hmac.compare_digest(sealed.write_hash, wanted)
        if hmac.compare_digest(sealed.intake_hash, wanted):
            return "intake"
        return "write" if write else None

    async def _empty(self, source: Source, *, discard: bool) -> None:
        of, partitions = self._keys.of(source.name), range(source.partitions)
        streams = [of.stream(p) for p in partitions]
        table = [of.dead_table, of.dead_groups, *of.dead_draft]
        kept = [of.flow, of.rate, of.ids, of.losses, *table, of.history, of.history_day, of.tail, of.recoveries]
        rest = [*kept, *map(of.lease, partitions), *map(of.record, partitions)]
        args = [len(streams), int(discard)]
        reply = await script("source_empty").acall(self._redis, [of.ledger, of.dead, *streams, *rest], args)
        if reply[0] != b"ok":
            queued, in_flight, dead, entries = reply[1:]
            raise SourceNotEmptyError(
                f"source {source.name!r} holds events: {queued} queued, {in_flight} in flight, {dead} dead "
                f"({entries} entries stored); let them drain, or remove it with --discard"
            )

    def _with_id_key(self, name: str, id_key: str, stored: _Stored) -> _Stored:
        self._open(name, stored.sealed)
        sealed = _sealed(name, stored)
        return stored if sealed.id_key else replace(stored, sealed=replace(sealed, id_key=id_key).dump())

    def _opens_id_key(self, name: str, sealed: SealedKeys) -> bool:
        try:
            sealed.open_id_key(self._secrets, name)
        except ConfigurationError:
            return False
        return True

    def _resealed(self, name: str, stored: _Stored) -> _Stored:
        if not stored.sealed:
            return stored
        old = SealedKeys.load(name, stored.sealed)
        new = old.resealed(self._secrets, name)
        return stored if new is old else replace(stored, sealed=new.dump())

    async def _run(self, name: str, *args: str | bytes) -> Any:
        keys = [self._keys.sources, self._keys.secrets, self._keys.lookup, self._keys.version]
        return await script(name).acall(self._redis, keys, args)


def unknown_source(name: str, known: Iterable[str]) -> UnknownSourceError:
    """The error for a name that no source has, with the names that are close to it."""
    close = get_close_matches(name, [*known], n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return UnknownSourceError(
        f"no source is called {name!r}; {hint}`pombo sources list` shows them, `pombo sources add` makes one"
    )


def _exists(name: str) -> SourceExistsError:
    return SourceExistsError(
        f"source {name!r} exists already and is left as it is; "
        f"change it with `pombo sources set {name}` or `pombo sources rotate-key {name}`; "
        "with --intake that makes a new intake key, if the first was never shown"
    )


def _sealed(name: str, stored: _Stored) -> SealedKeys:
    if not stored.sealed:
        raise ConfigurationError(
            f"source {name!r} has no keys: Redis lost them; `pombo sources rotate-key {name}` stores one"
        )
    return SealedKeys.load(name, stored.sealed)


def _loss_of_ids(name: str, before: _Stored, after: _Stored) -> tuple[str, ...]:
    """What to say when the id key was lost with the secret that it was encrypted with."""
    lost = before.sealed and SealedKeys.load(name, before.sealed).id_key and not _sealed(name, after).id_key
    words = "the key of its hashed ids was lost too: with --identity hmac, people have other userIds from now on"
    return (words,) if lost else ()


def _snapshot(version: int, stored: Mapping[bytes, bytes]) -> Snapshot:
    sources, unreadable = {}, []
    for name, settings in sorted((str(_text(name)), settings) for name, settings in stored.items()):
        try:
            sources[name] = Source.load(name, settings)
        except StoredVersionError:
            unreadable.append(name)
    return Snapshot(version, sources, tuple(unreadable))


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
