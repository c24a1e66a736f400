// The peer for bots on Node: Segment's own library. Prints one line of JSON, as the trials in Python do.
//
// Batches hold 100 events, as those of the library for Python do; by default they would hold 15.
"use strict";

const { readFileSync } = require("node:fs");
const { Analytics } = require("@segment/analytics-node");

const BATCH = 100;

async function enqueueAndSend({ url, events, count, warm }) {
  const lines = readFileSync(events, "utf8").trimEnd().split("\n").slice(0, count).map((line) => JSON.parse(line));
  const all = Array.from({ length: count }, (_, number) => lines[number % lines.length]);
  const client = new Analytics({ writeKey: "w".repeat(32), host: url, flushAt: BATCH });
  let lost = 0;
  client.on("error", () => (lost += 1));
  for (const event of all.slice(0, warm)) call(client, event);
  await client.flush();

  const spent = new Float64Array(count);
  const cpu = process.cpuUsage();
  const begun = performance.now();
  for (let number = 0; number < count; number += 1) {
    const at = performance.now();
    call(client, all[number]);
    spent[number] = performance.now() - at;
  }
  const called = performance.now() - begun;
  await client.closeAndFlush({ timeout: 120_000 });
  const sent = performance.now() - begun;
  const used = process.cpuUsage(cpu);
  if (lost) throw new Error(`the SDK lost events: ${lost} errors`);
  spent.sort();
  return {
    call_rate: (count / called) * 1000,
    sent_rate: (count / sent) * 1000,
    cpu_us: (used.user + used.system) / count,
    call_p50_us: spent[Math.floor(count / 2)] * 1000,
    call_p99_us: spent[Math.floor((count * 99) / 100)] * 1000,
  };
}

function call(client, event) {
  if (event.type === "identify") {
    client.identify({ userId: event.userId, traits: event.traits });
  } else {
    client.track({ userId: event.userId, event: event.event, properties: event.properties });
  }
}

enqueueAndSend(JSON.parse(process.argv[2])).then((result) => console.log(JSON.stringify(result)));
