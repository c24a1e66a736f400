// Sends events at a pace through Segment's SDK for Node, and notes of each what the SDK says became of it.
"use strict";

const { appendFileSync } = require("node:fs");
const { Analytics } = require("@segment/analytics-node");

const { url, key, count, rate, diary } = JSON.parse(process.argv[2]);
const TICK_MS = 20;
const analytics = new Analytics({ host: url, writeKey: key, httpRequestTimeout: 5_000 });
const note = (id, word) => appendFileSync(diary, `${JSON.stringify([id, word])}\n`);

let sent = 0;
let heard = 0;
const begun = performance.now();
const timer = setInterval(() => {
  const due = Math.min(count, Math.ceil(((performance.now() - begun) / 1000) * rate));
  for (; sent < due; sent += 1) track(sent);
  if (sent === count) {
    clearInterval(timer);
    analytics.closeAndFlush({ timeout: 120_000 });
  }
}, TICK_MS);

function track(number) {
  const messageId = `n-${number}`;
  const event = { userId: `u${number % 50}`, event: "Message Sent", messageId, properties: { number } };
  analytics.track(event, (error) => {
    note(messageId, error ? String(error) : "taken");
    heard += 1;
    // The SDK's own timers go on after all is heard.
    if (heard === count) process.exit(0);
  });
}
