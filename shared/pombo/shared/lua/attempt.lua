#!lua flags=allow-oom
-- Ask to send claimed events again: the same gate as a claim, and a note in each in-flight record.
--
-- KEYS  1 flow   2 rate   then per part: lease, record
-- ARGV  1 plan, JSON: {"rate", "burst", "events" (that will be sent), "try" (random; a repeat answers as the first did,
--         unless the gate has been shut meanwhile), "sent" (so many of the parts, the first ones, would be sent; the
--         rest waits with them), "parts": [{"lease", "id", "unknown_since", "failing_since"}]}
--         (ms, 0 for none: when sends with an unknown outcome, and failures, began)
-- Returns  {"go", now ms, probe (0|1), witness ms, part…}    parts all "held"
--          {"closed", now ms, reason, wait ms, witness ms, part…}
--          {"lost", now ms, part…}    some part's lease or record is gone; nothing was written
--          each part is "held", "lost" (lease) or "gone" (record)
-- Cost  O(parts)
--include weather
--include gate
local flow, rate = KEYS[1], KEYS[2]
local plan = cjson.decode(ARGV[1])
local now = milliseconds()
local parts, whole = {}, true
for number, part in ipairs(plan.parts) do
  local at = 3 + 2 * (number - 1)
  if redis.call('GET', KEYS[at]) ~= part.lease then
    parts[number], whole = 'lost', false
  elseif redis.call('HGET', KEYS[at + 1], 'id') ~= part.id then
    parts[number], whole = 'gone', false
  else
    parts[number] = 'held'
  end
end
if not whole then
  return { 'lost', now, unpack(parts) }
end
local again = redis.call('HMGET', KEYS[4], 'try', 'probe')
local witness = tonumber(redis.call('HGET', flow, 'witness') or '0')
-- A quarter of the burst is enough, as for claims, and the rest a debt: a full bucket may never come.
local gated = gate(flow, rate, plan.rate, plan.burst, math.min(plan.events, plan.burst / 4), now)
local waits = gated.reason == 'parked' or gated.reason == 'paused' or gated.reason == 'held'
if again[1] == plan.try and (not waits or (gated.reason == 'parked' and again[2] == '1')) then
  return { 'go', now, tonumber(again[2]), witness, unpack(parts) }
end
if not gated.open then
  -- Who asks has his answer and nothing on the wire: whoever resumes these must not take the last send for unknown,
  -- nor the wait for a failure.
  for number, part in ipairs(plan.parts) do
    redis.call('HSET', KEYS[3 + 2 * (number - 1) + 1], 'sent_at', '0', 'unknown_since',
      stamp(part.unknown_since), 'failing_since', waits and '0' or stamp(part.failing_since))
  end
  return { 'closed', now, gated.reason, gated.wait, witness, unpack(parts) }
end

for number = 1, plan.sent do
  local part, record = plan.parts[number], KEYS[3 + 2 * (number - 1) + 1]
  redis.call('HINCRBY', record, 'attempts', 1)
  redis.call('HSET', record, 'sent_at', stamp(now), 'unknown_since', stamp(part.unknown_since),
    'failing_since', stamp(part.failing_since), 'try', plan.try, 'probe', gated.probe and 1 or 0)
end
pass(gated, flow, rate, plan.events, now)
return { 'go', now, gated.probe and 1 or 0, witness, unpack(parts) }
