// Makes the calls that its argument lists, through Segment's SDK for Node, and ends badly if any is not taken.
"use strict";

const { Analytics } = require("@segment/analytics-node");

const { url, key, calls } = JSON.parse(process.argv[2]);
const analytics = new Analytics({ host: url, writeKey: key });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
for (const { type, timestamp, ...fields } of calls) analytics[type]({ ...fields, timestamp: new Date(timestamp) });
analytics.closeAndFlush({ timeout: 30_000 });
