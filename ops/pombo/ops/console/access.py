"""Access: which token opens the console, for whom, and how often a wrong one may be tried."""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal

from pombo.shared.clock import Clock
from pombo.shared.settings import Settings

Role = Literal["operator", "viewer", "stranger"]
"""Operators may change things, viewers may look, strangers may log in."""

BURST: Final = 5
"""Wrong tokens that one address may give in a row."""
REFILL_S: Final = 10.0
"""Seconds after which it may give another one: 8,640 a day, against a token of 128 bits or more."""
TOTAL_BURST: Final = 50
"""Wrong tokens in a row from everywhere, against those with many addresses."""
TOTAL_REFILL_S: Final = 1.0
ADDRESSES: Final = 1000
"""Addresses remembered; the ones that tried longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that were set; none at all opens the console to whoever reaches its loopback address."""

    operator: str | None = None
    viewer: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        """Those of the settings; an empty one counts as none."""
        given = (settings.console_token, settings.console_viewer_token)
        return cls(*(secret.get_secret_value().strip() or None if secret else None for secret in given))

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""
        return self.operator is None and self.viewer is None

    def role_of(self, token: str) -> Role:
        """Whose token this is; compared with each in constant time, as digests, so that lengths do not show."""
        given = _digest(token)
        found: Role = "stranger"
        for role, known in (("viewer", self.viewer), ("operator", self.operator)):
            if hmac.compare_digest(_digest(known or ""), given) and known:
                found = "operator" if role == "operator" else "viewer"
        return found

    def fingerprint(self) -> bytes:
        """Bytes that change with any token: sessions are signed with them, so that a changed token ends them."""
        return _digest(self.operator or "") + _digest(self.viewer or "")


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def refill(self, now: float, burst: int, refill_s: float) -> None:
        self.left = min(float(burst), self.left + (now - self.at) / refill_s)
        self.at = now


class Attempts:
    """Slow down whoever tries tokens; only wrong ones count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._total = _Bucket(TOTAL_BURST, clock.monotonic())

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        now = self._clock.monotonic()
        self._total.refill(now, TOTAL_BURST, TOTAL_REFILL_S)
        waits = [(1 - self._total.left) * TOTAL_REFILL_S]
        bucket = self._by_address.get(_network(address))
        if bucket is not None:
            bucket.refill(now, BURST, REFILL_S)
            waits.append((1 - bucket.left) * REFILL_S)
        return max(0.0, *waits)

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        now, network = self._clock.monotonic(), _network(address)
        bucket = self._by_address.setdefault(network, _Bucket(BURST, now))
        bucket.left -= 1
        self._total.left -= 1
        self._by_address.move_to_end(network)
        while len(self._by_address) > ADDRESSES:
            self._by_address.popitem(last=False)


def _network(address: str) -> str:
    """What an attacker cannot change at will: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(int(found) >> 64) if isinstance(found, IPv6Address) and not found.is_loopback else str(found)
