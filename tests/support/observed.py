"""A live installation under a real Prometheus: a worker, a gateway, a console, and a bot that sends."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import orjson

from support.installation import Bot, Child, Gateway, Installation
from support.prometheus import TOKEN, Prometheus
from support.servers import free_port
from support.waiting import until

SOURCE = "bot"
HOST = "127.0.0.1"
RATE = 50.0


@dataclass
class Observed:
    """All of it, and what a test does to it."""

    installation: Installation
    worker: Child
    gateway: Gateway
    bot: Bot
    prometheus: Prometheus
    key: str
    """The intake key of `SOURCE`."""

    def post(self, message_id: str, *, key: str | None = None, **fields: object) -> int:
        """Send one event by the gateway; the status of its answer."""
        event = {"type": "track", "userId": "u1", "event": "Message Sent", "messageId": message_id, **fields}
        answer = httpx.post(
            f"{self.gateway.url}/v1/track", content=orjson.dumps(event), auth=(key or self.key, ""), timeout=30
        )
        return answer.status_code


@contextmanager
def observed(
    installation: Installation, folder: Path, *, gateway_env: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Observed]:
    """Start all of it, and wait until every target was scraped and something delivered."""
    worker_port, console_port = free_port(), free_port()
    with ExitStack() as stack:
        installation.add(SOURCE, "k" * 32)
        key = installation.intake_key(SOURCE)
        installation.set_env(POMBO_METRICS_PORT=str(worker_port))
        (worker,) = installation.workers(1)
        installation.console(viewer_token=TOKEN, port=console_port)
        # From here on others may go another way to Redis.
        installation.set_env(POMBO_METRICS_PORT="0", POMBO_SPOOL_DIR=str(folder / "spool"), **gateway_env)
        gateway = installation.gateway()
        bot = installation.stream(SOURCE, "steady", users=20, rate=RATE, options=["--metrics"])
        bot_port = int(until(lambda: bot.diary.with_name(f"{bot.diary.name}.port").read_text(), "port of the bot"))
        targets = {
            "pombo-worker": [f"{HOST}:{worker_port}"],
            "pombo-gateway": [f"{HOST}:{gateway.port}"],
            "pombo-console": [f"{HOST}:{console_port}"],
            "pombo-bot": [f"{HOST}:{bot_port}"],
        }
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", targets))
        made = Observed(installation, worker, gateway, bot, prometheus, key)
        for job in targets:
            until(lambda job=job: prometheus.scraped(job), f"scrape of {job}")  # type: ignore[misc]
        until(lambda: prometheus.query("sum(source:pombo_delivered_events:rate1m) > 0"), "rate of deliveries")
        yield made
