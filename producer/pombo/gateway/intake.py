"""Intake: what every route takes events in by, whatever platform they come from."""

from dataclasses import dataclass

from pombo.gateway.bodies import read
from pombo.gateway.dispatch import Dispatch
from pombo.gateway.exchange import Exchange
from pombo.gateway.room import Room, Share


@dataclass(frozen=True, slots=True)
class Intake:
    """The room for a request, the reading of its body, and the dispatch of what it brings."""

    dispatch: Dispatch
    room: Room
    body_bytes: int
    """Of one body at most, as sent and inflated."""

    def share(self) -> Share:
        """A request's share of the room, empty; a context manager that gives all of it back."""
        return self.room.share()

    async def read(self, exchange: Exchange, share: Share) -> bytes:
        """Read a request's body, and note its size.

        Raises:
            Refusal: it is too large, too slow, or no gzip; or there is no room.
            ClientGoneError: the client went away.
        """
        body = await read(exchange.receive, exchange.headers, share, self.body_bytes)
        exchange.size = len(body)
        return body
