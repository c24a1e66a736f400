"""Makes the calls that its argument lists, through Segment's SDK for Python, and ends badly if any is not taken."""

import json
import sys
from datetime import datetime
from typing import Any

from segment.analytics.client import Client  # type: ignore[import-not-found]

NAMES = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "messageId": "message_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}
told = json.loads(sys.argv[1])
lost: list[Any] = []
client = Client(told["key"], host=told["url"], gzip=True, on_error=lambda error, _: lost.append(error))
for call in told["calls"]:
    fields = {NAMES.get(name, name): value for name, value in call.items() if name != "type"}
    fields["timestamp"] = datetime.fromisoformat(fields["timestamp"])
    getattr(client, call["type"])(**fields)
client.flush()
client.join()
sys.exit("\n".join(map(repr, lost)) or 0)
