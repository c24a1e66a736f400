#!lua flags=allow-oom
-- Take the first entries of partitions for one request: find the duplicates, write the in-flight records.
--
-- KEYS  1 ledger   2 flow   3 rate   4 ids
--       then per part: lease, record, stream
--       then per live generation, newest first: per event of each part, its bucket in that generation
-- ARGV  1 plan, JSON: {"incarnation", "rate", "burst", "table" (version of the generations), "generations" (count),
--         "ttl" (ms of a new bucket), "crowded" (ids in the newest generation from which on it lacks no bucket),
--         "parts": [{"lease", "id" (of the new record), "first", "last", "after" (the id right behind last), "entries",
--         "events", "bytes"}]}
--       then one member per event of each part
-- Returns  {"ok", now ms, probe (0|1), ids in the newest generation, pace, part…}, each part one of
--            {"claimed", done}    `done`: one character an event, 1 = duplicate; a repeat answers the same
--            {"lost"}             the lease is another's
--            {"record"}           another record is in flight here: resume that one
--            {"moved"}            the stream does not start with `first` or has lost `last`: read again
--          {"closed", now ms, reason, wait ms, pace, part…}   nothing may be sent now; parts as above or {"wait"}
--          `pace`: events per second that Segment takes, as far as known, below the limit; 0: all of it; -1: not looked at
--          {"table", now ms}      the generations changed: read them again
--          {"unknown", now ms}    no such source, or another incarnation of it
-- Cost  O(events · generations)
--include weather
--include gate
local ledger, flow, rate, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local plan = cjson.decode(ARGV[1])
local now = milliseconds()
if redis.call('HGET', ledger, 'incarnation') ~= plan.incarnation then
  return { 'unknown', now }
end

local replies, claims, probe = {}, {}, 0
local buckets, events = 4 + 3 * #plan.parts, 0
for number, part in ipairs(plan.parts) do
  local at = 5 + 3 * (number - 1)
  part.record, part.stream = KEYS[at + 1], KEYS[at + 2]
  part.ahead, events = events, events + part.events
  if redis.call('GET', KEYS[at]) ~= part.lease then
    replies[number] = { 'lost' }
  else
    local record = redis.call('HMGET', part.record, 'id', 'done', 'probe')
    if record[1] == part.id then
      replies[number] = { 'claimed', record[2] }
      probe = math.max(probe, tonumber(record[3] or '0'))
    elseif record[1] then
      replies[number] = { 'record' }
    else
      local first = redis.call('XRANGE', part.stream, '-', '+', 'COUNT', 1)[1]
      local last = first
      if first and part.first ~= part.last then
        last = redis.call('XRANGE', part.stream, part.last, part.last)[1]
      end
      if not first or first[1] ~= part.first or not last then
        replies[number] = { 'moved' }
      else
        replies[number] = { 'wait' }
        claims[#claims + 1] = part
        part.number = number
      end
    end
  end
end
if #claims == 0 then
  return { 'ok', now, probe, 0, -1, unpack(replies) }
end
local wanted = 0
for _, part in ipairs(claims) do
  wanted = wanted + part.events
end
local gated = gate(flow, rate, plan.rate, plan.burst, wanted, now)
if not gated.open then
  return { 'closed', now, gated.reason, gated.wait, gated.pace or (gated.reason == 'rate' and 0 or -1), unpack(replies) }
end
local stored = redis.call('HMGET', ids, 'version', 'count')
if (stored[1] or '') ~= plan.table then
  return { 'table', now }
end

-- One character an event, as in a record.
local done = {}
for generation = 1, plan.generations - 1 do
  local before = buckets + generation * events
  for _, part in ipairs(claims) do
    for event = part.ahead + 1, part.ahead + part.events do
      if not done[event] and redis.call('SISMEMBER', KEYS[before + event], ARGV[1 + event]) == 1 then
        done[event] = '1'
      end
    end
  end
end

-- To add an id to the newest generation is the check whether it is there, or was met before in this claim. It is the
-- one check that writes, so what it wrote is taken back should it fail: an id that stays without a record would make
-- its own event a duplicate.
local sparse = tonumber(stored[2] or '0') < plan.crowded
local added = {}
for _, part in ipairs(claims) do
  part.left = 0
  for event = part.ahead + 1, part.ahead + part.events do
    if not done[event] then
      local bucket = KEYS[buckets + event]
      local new = redis.pcall('SADD', bucket, ARGV[1 + event])
      if new == 1 then
        added[#added + 1], done[event], part.left = event, '0', part.left + 1
        if sparse and redis.call('SCARD', bucket) == 1 then
          redis.call('PEXPIRE', bucket, plan.ttl)
        end
      elseif new == 0 then
        done[event] = '1'
      else
        for _, one in ipairs(added) do
          redis.call('SREM', KEYS[buckets + one], ARGV[1 + one])
        end
        return new
      end
    end
  end
  part.done = table.concat(done, '', part.ahead + 1, part.ahead + part.events)
end

local sent = 0
for _, part in ipairs(claims) do
  local duplicates = part.events - part.left
  redis.call('HINCRBY', ledger, 'queued', 0 - part.events)
  if duplicates > 0 then
    redis.call('HINCRBY', ledger, 'deduplicated', duplicates)
  end
  if part.left > 0 then
    redis.call('HINCRBY', ledger, 'in_flight', part.left)
    redis.call('HSET', part.record, 'v', 1, 'id', part.id, 'first', part.first, 'last', part.last, 'after', part.after,
      'entries', part.entries, 'events', part.events, 'bytes', part.bytes, 'done', part.done, 'left', part.left,
      'attempts', 1, 'sent_at', stamp(now), 'unknown_since', 0, 'failing_since', 0, 'probe', gated.probe and 1 or 0)
  else
    redis.call('XTRIM', part.stream, 'MINID', '=', part.after)
    redis.call('HINCRBY', ledger, 'queued_bytes', 0 - part.bytes)
  end
  sent = sent + part.left
  replies[part.number] = { 'claimed', part.done }
end
local count = redis.call('HINCRBY', ids, 'count', sent)
if sent > 0 then
  pass(gated, flow, rate, sent, now)
end
return { 'ok', now, gated.probe and 1 or probe, count, gated.pace or 0, unpack(replies) }
