"""Webhooks of chatbot platforms: the source is named by the path, and the key stands in a header of its choosing."""

from typing import NamedTuple

from redis.exceptions import RedisError

from pombo.gateway.answers import Refusal
from pombo.gateway.catalogue import Catalogue
from pombo.gateway.credentials import header_key, no_key, unknown_key
from pombo.gateway.exchange import Exchange
from pombo.gateway.keyring import Keyring
from pombo.shared.errors import PomboError
from pombo.shared.sources import Source

_HOW = (
    "give the source's intake key in the header that was set for it, `Authorization` unless `--intake-header` says else"
)


class Admitted(NamedTuple):
    """A request whose key belongs to the source that its path names."""

    source: Source
    key: str


class Webhooks:
    """Admit requests; whoever has no key does not learn which sources there are."""

    def __init__(self, keyring: Keyring, catalogue: Catalogue) -> None:
        self._keyring = keyring
        self._catalogue = catalogue

    async def admit(self, exchange: Exchange) -> Admitted:
        """Find the source, and make sure of its intake key.

        Raises:
            Refusal: there is no such source, it is not its key, or that cannot be told now.
        """
        name = exchange.param("source")
        try:
            source = await self._catalogue.get(name)
        except (RedisError, OSError, PomboError) as error:
            raise self._keyring.unreadable(error) from error
        header = "authorization" if source is None else source.intake_header.lower()
        key = header_key(exchange.headers.get(header.encode()))
        if key is None:
            raise no_key(_HOW)
        owner = await self._keyring.owner(key)
        if source is None or owner.source != source.name:
            raise unknown_key()
        if owner.kind != "intake":
            message = (
                "this is the source's write key; webhooks take its intake key (`pombo sources rotate-key --intake`)"
            )
            raise Refusal(401, "not_the_intake_key", message)
        exchange.source = source.name
        return Admitted(source, key)

    async def id_key(self, source: Source) -> bytes:
        """The key of the source's hashed ids.

        Raises:
            Refusal: it cannot be read now.
        """
        try:
            return await self._catalogue.id_key(source)
        except (RedisError, OSError, PomboError) as error:
            raise self._keyring.unreadable(error) from error
