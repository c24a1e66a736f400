"""Write keys: whether workers can read them, and whether they look like any; none is ever shown."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pombo.ops.doctor.check import Check, listed
from pombo.shared.errors import PomboError
from pombo.shared.options import WRITE_KEY_LENGTH, key_warnings
from pombo.shared.registry import INTAKE_PREFIX
from pombo.shared.secrets import SECRET_PREFIX, SealedKeys, Secrets
from pombo.shared.sources import Source

_QUOTES = ("'", '"', "`", "\u201c", "\u201d")


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """One source's write key, or why it cannot be read."""

    source: Source
    key: str | None = field(default=None, repr=False)
    problem: str = ""


def open_keys(sources: Sequence[Source], sealed: Mapping[str, bytes], secrets: Secrets) -> list[OpenedKey]:
    """Decrypt what the registry stores."""
    return [_open(source, sealed.get(source.name), secrets) for source in sources]


def _open(source: Source, sealed: bytes | None, secrets: Secrets) -> OpenedKey:
    if not sealed:
        return OpenedKey(source, problem="Redis lost it")
    try:
        return OpenedKey(source, secrets.decrypt(SealedKeys.load(source.name, sealed).write_key))
    except PomboError as error:
        return OpenedKey(source, problem=str(error))


def key_checks(opened: Sequence[OpenedKey]) -> Iterator[Check]:
    """Judge all write keys."""
    yield from _readable(opened)
    for one in opened:
        odd = oddity(one.key) if one.key is not None else None
        if odd is not None:
            yield _odd(one.source, odd)
    yield from _shared(opened)


def _readable(opened: Sequence[OpenedKey]) -> Iterator[Check]:
    shut = [one.source.name for one in opened if one.key is None]
    if not opened:
        return
    if not shut:
        yield Check("write keys", True, "POMBO_SECRET_KEY opens all of them")
        return
    why = next(one.problem for one in opened if one.key is None)
    lost = all(one.problem == "Redis lost it" for one in opened if one.key is None)
    detail = f"{len(shut):,} of {len(opened):,} cannot be read, and nothing is sent: {listed(shut)}"
    remedy = f"`pombo sources rotate-key {shut[0]} --write-key -`" if lost else (
        "put the secret that they were stored with into POMBO_SECRET_KEY (comma-separated, newest first)"
    )  # fmt: skip
    yield Check("write keys", False, detail if lost or "decrypted" in why else f"{detail} ({why})", remedy)


def oddity(key: str) -> str | None:
    """What is odd about a write key, without showing it; None for one as Segment makes them."""
    kinds = (
        (not key_warnings(key), None),
        ("://" in key, "is a URL"),
        (key[:1] in _QUOTES or key[-1:] in _QUOTES, "is in quotes"),
        (key.split() != [key], "holds white space"),
        (key.startswith(INTAKE_PREFIX), "is an intake key of pombo's"),
        (key.startswith(SECRET_PREFIX), "is a secret of pombo's"),
        (len(key) != WRITE_KEY_LENGTH, f"has {len(key)} characters, not {WRITE_KEY_LENGTH}"),
        (True, "is not letters and digits alone"),
    )
    return next(words for fits, words in kinds if fits)


def _odd(source: Source, odd: str) -> Check:
    name, remedy = f"write key of {source.name}", f"`pombo sources rotate-key {source.name} --write-key -`"
    if source.endpoint is not None:
        return Check(name, True, f"{odd}: fine for a simulator or a proxy, not for Segment", remedy)
    return Check(name, False, f"{odd}: Segment would answer 200, and drop every event", remedy)


def _shared(opened: Sequence[OpenedKey]) -> Iterator[Check]:
    holders: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in opened:
        if one.key is not None:
            holders[one.key, one.source.url].append(one.source.name)
    for names in holders.values():
        if len(names) > 1:
            detail = f"{listed(names)} have the same one: their events end in one source of Segment's"
            yield Check("write keys", True, detail, f"if that is not meant: `pombo sources rotate-key {names[-1]}`")
