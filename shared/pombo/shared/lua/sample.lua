#!lua
-- Take a sample of a source for its charts: what ledger and flow say, and what a worker counted since its last one.
--
-- KEYS  1 ledger   2 flow   3 history   4 history of the day   then every stream of the source
-- ARGV  1 incarnation   2 the source's own rate limit (0: none)   3 what was counted, JSON: {"name": count, …}
--       4 "1" to take none when there is one for this slot
--       5 events delivered, deduplicated and dead since the caller began with the source, JSON: [3 counts]
-- Returns  1, or 0 when there is one already, or no such source
-- Cost  O(partitions); once in five minutes O(samples kept). Refused by the server at maxmemory: it can be done without.
--
-- Both lists hold one sample a slot (10 s; of the day 5 min), whoever took it, as JSON:
--   [1, start of the slot, when it was taken (ms both), [accepted, delivered, deduplicated, died] so far,
--    [queued, in flight, age in ms of the oldest entry (-1: none)], the highest of these three within the slot,
--    events/s that might be sent (0: no limit), {"name": count within the slot}, sights of the flow]
-- A sight: [ms, state], and if it is not only "active": since (0: unknown), held_at, hold_until, closed_at, reason.
--include weather
local SLOT_MS, KEPT, LONG_MS, LONG_KEPT, LIFETIME_S = 10000, 91, 300000, 289, 90000
-- A clock that went back by less goes on in the slot it was in; by more, and the charts begin anew.
local PATIENCE_MS = 300000
-- A hold or outage that ended so long ago was told by the samples before.
local LATELY_MS = 60000
local REASON_BYTES, SIGHTS = 160, 8

local ledger, flow_key, history, day = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = milliseconds()
local counts, died = {}, 0
local fields = redis.call('HGETALL', ledger)
for i = 1, #fields, 2 do
  counts[fields[i]] = fields[i + 1]
  if string.sub(fields[i], 1, 5) == 'died:' then
    died = died + tonumber(fields[i + 1])
  end
end
if counts.incarnation ~= ARGV[1] then
  return 0
end

local function count(name)
  return tonumber(counts[name] or '0')
end

-- The newest sample of a list that this script knows how to read.
local function newest(key)
  local ok, found = pcall(cjson.decode, redis.call('LINDEX', key, -1) or '')
  return ok and type(found) == 'table' and found[1] == 1 and found or nil
end

local before = newest(history)
local slot = now - now % SLOT_MS
if before and before[2] > slot then
  if before[2] - slot > PATIENCE_MS then
    redis.call('DEL', history, day)
    before = nil
  else
    slot = before[2]
  end
end
if ARGV[4] == '1' and before and before[2] == slot then
  return 0
end

local function sight()
  local flow = weather(flow_key, now)
  local told = redis.call('HMGET', flow_key, 'parked_at', 'broken_why')
  local state, since, reason = 'active', 0, ''
  if flow.parked then
    state, since, reason = 'parked', tonumber(told[1] or '0') or 0, flow.parked
  elseif flow.paused then
    state = 'paused'
  elseif now < flow.hold_until then
    state, since = 'held', flow.held_at
  elseif flow.broken_at then
    state, since, reason = 'broken', flow.broken_at, told[2] or ''
  end
  local held = flow.hold_until > now - LATELY_MS
  local closed = flow.closed_at > now - LATELY_MS and flow.closed_at or 0
  local rate = rate_in_force(flow, tonumber(ARGV[2]), now)
  if state == 'active' and not held and closed == 0 then
    return { now, state }, rate
  end
  if #reason > REASON_BYTES then
    -- Not within a character.
    reason = string.gsub(string.sub(reason, 1, REASON_BYTES), '[\192-\255][\128-\191]*$', '')
  end
  return { now, state, since, held and flow.held_at or 0, held and flow.hold_until or 0, closed, reason }, rate
end

local function oldest_age()
  local oldest
  if count('queued') > 0 or count('in_flight') > 0 or count('queued_bytes') > 0 then
    for i = 5, #KEYS do
      local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
      local at = first and tonumber(string.match(first[1], '^%d+'))
      oldest = at and math.min(at, oldest or at) or oldest
    end
  end
  return oldest and math.max(0, now - oldest) or -1
end

local function highest(a, b)
  return { math.max(a[1], b[1]), math.max(a[2], b[2]), math.max(a[3], b[3]) }
end

local function same(a, b)
  return table.concat(a, '|', 2) == table.concat(b, '|', 2)
end

-- Put a later sample on top of an earlier one of the same slot.
local function merge(early, late)
  late[6] = highest(early[6], late[6])
  for name, by in pairs(early[8]) do
    late[8][name] = (late[8][name] or 0) + by
  end
  local sights = early[9]
  for _, one in ipairs(late[9]) do
    if not same(sights[#sights], one) then
      sights[#sights + 1] = one
    end
  end
  while #sights > SIGHTS do
    table.remove(sights, 1)
  end
  late[9] = sights
  return late
end

local function push(key, sample, kept)
  redis.call('RPUSH', key, cjson.encode(sample))
  redis.call('LTRIM', key, 0 - kept, -1)
  redis.call('EXPIRE', key, LIFETIME_S)
end

-- Sum the samples up that belong to five minutes which are over, and that the day does not have yet.
local function sum_up()
  local last = newest(day)
  local done, sum = last and last[2] or -1, nil
  for _, text in ipairs(redis.call('LRANGE', history, 0, -1)) do
    local ok, sample = pcall(cjson.decode, text)
    if ok and type(sample) == 'table' and sample[1] == 1 then
      local long = sample[2] - sample[2] % LONG_MS
      if long > done and long < slot - slot % LONG_MS then
        sample[2] = long
        if sum and sum[2] == long then
          sum = merge(sum, sample)
        else
          if sum then
            push(day, sum, LONG_KEPT)
          end
          sum = sample
        end
      end
    end
  end
  if sum then
    push(day, sum, LONG_KEPT)
  end
end

local seen, rate = sight()
local waits = { count('queued'), count('in_flight'), oldest_age() }
local sums = { count('accepted'), count('delivered'), count('deduplicated'), died }
local tallies = cjson.decode(ARGV[3])
local sample = { 1, slot, now, sums, waits, waits, tonumber(string.format('%.1f', rate)), tallies, { seen } }
if before and before[2] == slot then
  redis.call('LSET', history, -1, cjson.encode(merge(before, sample)))
  redis.call('EXPIRE', history, LIFETIME_S)
  return 1
end
if before and before[2] - before[2] % LONG_MS < slot - slot % LONG_MS then
  sum_up()
end
if not before then
  -- A first sample would have nothing to be compared with: what it tells of began less than a slot ago. But of what
  -- was ever redriven nobody can say here how much of it is in the queue.
  local done, began = cjson.decode(ARGV[5]), { sums[1] - waits[1] - waits[2], sums[2], sums[3], sums[4] }
  for place = 1, 3 do
    began[1], began[1 + place] = began[1] - done[place], began[1 + place] - done[place]
  end
  if sums[4] > count('dead') + count('discarded') then
    began[1] = sums[1]
  end
  local none = { 0, 0, -1 }
  push(history, { 1, slot - SLOT_MS, now - SLOT_MS, began, none, none, sample[7], {}, { { now - SLOT_MS, 'active' } } }, KEPT)
end
push(history, sample, KEPT)
return 1
