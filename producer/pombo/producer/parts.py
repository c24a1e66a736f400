"""What both clients are made of: the options, the settings, and the core that they drive."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pombo.producer.buffer import Buffer
from pombo.producer.intake import Intake
from pombo.producer.metrics import Metrics, default_metrics
from pombo.producer.options import Options
from pombo.producer.outbox import Outbox
from pombo.producer.rejections import OnRejected, Rejections
from pombo.producer.spools import keeper_of
from pombo.shared.clock import Clock, SystemClock
from pombo.shared.connection import line, redact, redis_url
from pombo.shared.redisurl import read_usable

if TYPE_CHECKING:
    from pombo.shared.settings import Settings

CLOSE_SLACK_S = 1.0
"""Seconds beyond the budgets for which closing waits: a name server can hang longer than any timeout."""
STUMBLE_PAUSE_S = 0.1
STUMBLED = "the producer of source %s stumbled over a bug in pombo; please report it"


class Parts:
    """Make the core of one producer, as often as a process needs it anew.

    Raises:
        ConfigurationError: a setting or the URL cannot be used.
    """

    def __init__(
        self,
        options: Options,
        *,
        settings: "Settings | None",
        url: str | None,
        on_rejected: OnRejected | None,
        clock: Clock | None,
        metrics: Metrics | None,
    ) -> None:
        # Now, as the import of this package is light, and later, amid a call or in a thread, a fork could cut it short.
        import pombo.shared.events
        import pombo.shared.sources  # noqa: F401
        from pombo.shared.settings import read_settings

        self.options = options
        self.clock = clock or SystemClock()
        self._settings = settings or read_settings()
        self._url = url
        self._metrics = metrics or default_metrics()
        self.rejections = Rejections(options.source, on_rejected, self._metrics, self.clock)
        self.intake = Intake(options, self.rejections, self.clock, disabled=self._settings.disabled)
        self.closing_s = max(options.budget_s, options.patience_s) + CLOSE_SLACK_S
        """Seconds that closing may take."""
        self.disabled = self._settings.disabled
        """Whether sound events are discarded."""
        self._check_url()
        self._keeper = keeper_of(self._settings, self.url, self.clock)
        """The spool, if there is one."""

    def _check_url(self) -> None:
        line(read_usable(self.url()))

    def url(self) -> str:
        """The URL in force; the embedded server's may move when it starts anew."""
        return self._url or redis_url(self._settings)

    def where(self) -> str:
        """The URL for people, without its password."""
        return redact(self.url())

    def start_draining(self) -> None:
        """Have drained what a process left in the spool, if there is one and it holds something."""
        if self._keeper is not None:
            self._keeper.start()

    def rest(self) -> None:
        """Let go of the spool's files until it is used again."""
        if self._keeper is not None:
            self._keeper.spool.rest()

    def buffer(self, wake: Callable[[], None]) -> Buffer:
        """A new buffer."""
        return Buffer(self.options, self.clock, wake)

    def outbox(self, buffer: Buffer) -> Outbox:
        """A new core, with a session of its own."""
        return Outbox(
            self.options,
            buffer,
            keys=self._settings.keys,
            clock=self.clock,
            metrics=self._metrics,
            rejections=self.rejections,
            where=self.where,
            spool=None if self._keeper is None else self._keeper.spool,
        )
