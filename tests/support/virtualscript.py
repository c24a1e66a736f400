"""The product's scripts on virtual time, as a real server runs them in place of ours."""

import hashlib
from datetime import UTC, datetime
from functools import cache

from pombo.shared.scripts import script

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins."""
HEARD = "virtual:heard"
"""The list of what scripts published: each message behind its channel."""
_CLOCK = """
local function virtual_time()
  local seconds, micro = string.match(KEYS[#KEYS], '^virtual:(%d+)%.(%d+)$')
  return {seconds, micro}
end
"""


class VirtualScript:
    """A script that asks for virtual time, and publishes into the list `HEARD` unless it is to be `heard` by others.

    `told` says that it wants to be told the time, by one key more, the last: `clock_key`. That a name tells it, and no
    value, lets it run also where nothing can be written, such as on a full server.
    """

    def __init__(self, name: str, *, heard: bool = False) -> None:
        text = script(name).text
        self.name = name
        self.told = "redis.call('TIME')" in text
        self.publishes = "'PUBLISH'" in text
        if self.told:
            head, _, rest = text.partition("\n") if text.startswith("#!") else ("", "", text)
            text = f"{head}{_CLOCK}{rest}".replace("redis.call('TIME')", "virtual_time()")
        self.text = text if heard else text.replace("redis.call('PUBLISH', ", f"redis.call('RPUSH', '{HEARD}', ")
        self.sha = hash_of(self.text)


virtual_script = cache(VirtualScript)


def hash_of(text: str) -> str:
    """The hash by which a script is called."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def clock(elapsed_s: float) -> tuple[int, int]:
    """Redis' clock after so much virtual time: seconds, and microseconds of the second."""
    now = EPOCH.timestamp() + elapsed_s
    return int(now), int(now % 1 * 1_000_000)


def clock_key(elapsed_s: float) -> str:
    """The key whose name tells a script that time."""
    seconds, micro = clock(elapsed_s)
    return f"virtual:{seconds}.{micro:06d}"
