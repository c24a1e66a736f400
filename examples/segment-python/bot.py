"""A bot in Python: Segment's SDK as it is, with another host and key."""

import os
import sys

from segment import analytics

analytics.host = os.environ.get("POMBO_GATEWAY", "http://127.0.0.1:8080")
analytics.write_key = os.environ["INTAKE_KEY"]  # the source's intake key, or its write key
analytics.gzip = True


def not_taken(error: Exception, batch: list[dict]) -> None:
    """Say what the SDK gave up: after its retries, or at an answer such as 401."""
    print(f"not taken: {[event['messageId'] for event in batch]}: {error}", file=sys.stderr)


analytics.on_error = not_taken

user = "u1"
analytics.identify(user, {"plan": "gold"})
analytics.track(user, "Message Received", {"channel": "whatsapp", "text_length": 12})
analytics.track(user, "Message Sent", {"channel": "whatsapp", "text_length": 40})

# Before the process ends: up to 10,000 events wait in memory.
analytics.shutdown()
