from datetime import datetime, timedelta


class IdempotencyWindow:
    """Remember kept messageIds for a while, whatever write key they came with.

    Segment's look-back is at least 24 h and is not scoped to a source or a workspace. Ids stand in the
    order of their arrival, so that those past the window leave from the front.
    """

    def __init__(self, length: timedelta = timedelta(hours=24)) -> None:
        self.length = length
        self._kept: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def admit(self, message_id: str, now: datetime) -> bool:
        """Return whether the id is new within the window, and remember it if so."""
        self._forget(now - self.length)
        if message_id in self._kept:
            return False
        if self.length:
            self._kept[message_id] = now
        return True

    def _forget(self, horizon: datetime) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest] > horizon:
                return
            del self._kept[oldest]
