from pombo.ops.simulator.switches import Switches

WINDOW_S = 1


class Limiter:
    """Count what arrives in each second, and say when it is too much.

    Segment documents 1,000 a second for a workspace; whether it counts requests or events, and per what, is
    a switch.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._window = 0
        self._counts: dict[str, int] = {}

    def admits(self, key: str | None, events: int, monotonic: float) -> bool:
        """Return whether a request still fits in its second, and count it if so.

        A request larger than a whole second's allowance passes at the start of a second: it could never fit.
        """
        if not self._switches.rate_limit:
            return True
        self._turn(int(monotonic // WINDOW_S))
        scope = (key or "") if self._switches.rate_limit_scope == "key" else ""
        count = self._counts.get(scope, 0)
        cost = events if self._switches.rate_limit_counts == "events" else 1
        if count and count + cost > self._switches.rate_limit:
            return False
        self._counts[scope] = count + cost
        return True

    def _turn(self, window: int) -> None:
        if window != self._window:
            self._window = window
            self._counts.clear()
