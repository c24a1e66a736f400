"""A bot in Python with pombo's producer: durable when the receipt says so, without a gateway and without a key."""

import sys

from pombo.producer import Producer, Rejected

with Producer(source="support_bot") as pombo:
    user = "u1"
    receipts = [
        pombo.identify(user_id=user, traits={"plan": "gold"}),
        pombo.track(user_id=user, event="Message Received", properties={"channel": "whatsapp", "text_length": 12}),
        pombo.track(user_id=user, event="Message Sent", properties={"channel": "whatsapp", "text_length": 40}),
    ]
    for receipt in receipts:
        try:
            receipt.result(timeout=2)
        except Rejected as rejected:
            sys.exit(f"not taken: {receipt.message_id}: {rejected}")
