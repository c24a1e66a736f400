#!lua flags=allow-oom
-- Take the first entries of partitions for one request: find the duplicates, write the in-flight records.
--
-- KEYS  1 ledger   2 flow   3 rate   4 ids
--       then per part: lease, record, stream
--       then per event of each part: its bucket in every live generation, newest first
-- ARGV  1 plan, JSON: {"incarnation", "rate", "burst", "table" (version of the generations), "generations" (count),
--         "ttl" (ms of a new bucket), "parts": [{"lease", "id" (of the new record), "first", "last", "after"
--         (the id right behind last), "entries", "events", "bytes"}]}
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
local key, argument = 5 + 3 * #plan.parts, 2
for number, part in ipairs(plan.parts) do
  local at = 5 + 3 * (number - 1)
  part.record, part.stream = KEYS[at + 1], KEYS[at + 2]
  part.key, part.argument = key, argument
  key = key + part.events * plan.generations
  argument = argument + part.events
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
if (redis.call('HGET', ids, 'version') or '') ~= plan.table then
  return { 'table', now }
end

local seen = {}
for _, part in ipairs(claims) do
  local done, left = {}, 0
  for event = 1, part.events do
    local bucket = part.key + (event - 1) * plan.generations
    local member = ARGV[part.argument + event - 1]
    local name = KEYS[bucket] .. ' ' .. member
    local duplicate = seen[name]
    if not duplicate then
      for generation = 0, plan.generations - 1 do
        if redis.call('SISMEMBER', KEYS[bucket + generation], member) == 1 then
          duplicate = true
          break
        end
      end
    end
    seen[name] = true
    done[event] = duplicate and '1' or '0'
    left = left + (duplicate and 0 or 1)
  end
  part.done, part.left = table.concat(done), left
end

local sent = 0
for _, part in ipairs(claims) do
  for event = 1, part.events do
    if string.byte(part.done, event) == 48 then
      local bucket = KEYS[part.key + (event - 1) * plan.generations]
      redis.call('SADD', bucket, ARGV[part.argument + event - 1])
      if redis.call('SCARD', bucket) == 1 then
        redis.call('PEXPIRE', bucket, plan.ttl)
      end
    end
  end
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
