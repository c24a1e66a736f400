// A bot on Node: Segment's SDK as it is, with another host and key.
"use strict";

const { Analytics } = require("@segment/analytics-node");

const analytics = new Analytics({
  host: process.env.POMBO_GATEWAY ?? "http://127.0.0.1:8080",
  writeKey: process.env.INTAKE_KEY, // the source's intake key, or its write key
});

// Never silent: the SDK gives up after its retries, or at an answer such as 401.
analytics.on("error", ({ code, reason, ctx }) => {
  console.error(`not taken: ${ctx?.event.messageId ?? ""} ${code} ${reason}`);
  process.exitCode = 1;
});

const userId = "u1";
analytics.identify({ userId, traits: { plan: "gold" } });
analytics.track({ userId, event: "Message Received", properties: { channel: "whatsapp", text_length: 12 } });
analytics.track({ userId, event: "Message Sent", properties: { channel: "whatsapp", text_length: 40 } });

// Before the process ends: batches wait in memory until 15 events or 10 s have come together.
analytics.closeAndFlush({ timeout: 30_000 });
