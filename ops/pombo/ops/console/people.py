"""People: ids of persons as addresses may carry them, sealed, since proxies and histories keep addresses.

A sealed id is a Fernet token under a key of its own, derived from the installation's secret. It opens for half a day,
at every console of the installation: a link to a list can be shared, and is worth nothing to who finds it later.
"""

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from pombo.shared.clock import Clock
from pombo.shared.secrets import Secrets

LIFE_S: Final = 12 * 3600
"""Seconds for which a sealed id opens."""


class People:
    """Seal and open ids.

    Args:
        secrets: of the installation.
        clock: wall clock.
    """

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(secrets.derive(b"pombo console people")))
        self._clock = clock

    def seal(self, person: str) -> str:
        """The id as an address may carry it; another text each time."""
        told = person.encode("utf-8", "surrogatepass")
        return self._fernet.encrypt_at_time(told, self._now()).decode().rstrip("=")

    def open(self, sealed: str) -> str | None:
        """The id; None for what was sealed too long ago, or not by this installation."""
        token = sealed + "=" * (-len(sealed) % 4)
        try:
            told = self._fernet.decrypt_at_time(token.encode("ascii", "replace"), LIFE_S, self._now())
        except (InvalidToken, ValueError):
            return None
        return told.decode("utf-8", "surrogatepass")

    def _now(self) -> int:
        return int(self._clock.now().timestamp())
