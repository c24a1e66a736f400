#!lua flags=allow-oom
-- Finish events of in-flight records: delivered ones, and ones that become dead letters. A record whose events are
-- all finished leaves, with its entries.
--
-- KEYS  1 ledger   2 flow   3 dead   4 ids   then per part: lease, record, stream
--       then, if there are dead letters: table, groups, and per letter its id's bucket in every live generation
-- ARGV  1 plan, JSON: {"success" (a request was accepted), "sent_at" (ms, when), "probe" (it was the probe of a parked source),
--         "table" (version of the generations), "generations" (count), "wake", "source", "bound" (of the letters,
--         see `letterbound`; the wake channel and the source are the plan's), "parts": [{"lease", "id", "delivered": [[from, to]…] (0-based, inclusive),
--         "letters": [{"index", "reason"}…]}]}
--       then per letter, in the order of the parts: header, payload, member; marks, fingerprint, description of its row,
--       see `lettertable`
-- Returns  {"table"}        the generations changed, and there are letters: read them again
--          {now ms, part…}  each part one of
--          {"ok", left, entries that the stream still holds}    {"gone"}: this record is finished already (a repeat)
--          {"lost"}: the lease is another's
--          then "full", if the dead letters have come to their limit and the source is parked for it
-- Cost  O(events of partly finished records + letters · generations)
--include weather
--include letterbound
--include lettertable
local ledger, flow, dead, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local plan = cjson.decode(ARGV[1])
local now = milliseconds()

local replies, open = { now }, {}
local rows = 5 + 3 * #plan.parts
local key, argument, letters = rows + 2, 2, 0
for number, part in ipairs(plan.parts) do
  local at = 5 + 3 * (number - 1)
  part.record, part.stream = KEYS[at + 1], KEYS[at + 2]
  part.key, part.argument = key, argument
  key = key + #part.letters * plan.generations
  argument = argument + 6 * #part.letters
  letters = letters + #part.letters
  if redis.call('GET', KEYS[at]) ~= part.lease then
    replies[number + 1] = { 'lost' }
  else
    local record = redis.call('HMGET', part.record, 'id', 'done', 'left', 'events', 'after', 'bytes')
    if record[1] ~= part.id then
      replies[number + 1] = { 'gone' }
    else
      part.done, part.left, part.events = record[2], tonumber(record[3]), tonumber(record[4])
      part.after, part.bytes, part.number = record[5], tonumber(record[6]), number
      open[#open + 1] = part
    end
  end
end

-- To forget an id in fewer generations than there are would make its next copy a duplicate of nothing.
if letters > 0 and (redis.call('HGET', ids, 'version') or '') ~= plan.table then
  return { 'table' }
end

local function whole(part)
  local range = part.delivered[1]
  return #part.delivered == 1 and range[1] == 0 and range[2] == part.events - 1
end

-- Ids that left the newest generation.
local forgotten = 0

local function bury(part, position, letter)
  local blob = part.argument + 6 * (position - 1)
  local id = redis.call('XADD', dead, '*', 'h', ARGV[blob], 'b', ARGV[blob + 1])
  local kind = {marks = ARGV[blob + 3], fingerprint = ARGV[blob + 4], description = ARGV[blob + 5]}
  table_add(dead, KEYS[rows], KEYS[rows + 1], id, kind)
  for generation = 0, plan.generations - 1 do
    local gone = redis.call('SREM', KEYS[part.key + (position - 1) * plan.generations + generation], ARGV[blob + 2])
    forgotten = forgotten + (generation == 0 and gone or 0)
  end
  redis.call('HINCRBY', ledger, 'dead', 1)
  redis.call('HINCRBY', ledger, 'dead_bytes', #ARGV[blob] + #ARGV[blob + 1])
  redis.call('HINCRBY', ledger, 'died:' .. letter.reason, 1)
  redis.call('HINCRBY', ledger, 'dead:' .. letter.reason, 1)
end

local total
for _, part in ipairs(open) do
  local delivered, died = 0, 0
  if whole(part) then
    delivered = part.left
  else
    local done = {}
    for event = 1, part.events do
      done[event] = string.byte(part.done, event)
    end
    for _, range in ipairs(part.delivered) do
      for event = range[1] + 1, range[2] + 1 do
        if done[event] == 48 then
          done[event] = 49
          delivered = delivered + 1
        end
      end
    end
    for position, letter in ipairs(part.letters) do
      if done[letter.index + 1] == 48 then
        done[letter.index + 1] = 49
        died = died + 1
        bury(part, position, letter)
      end
    end
    for event = 1, part.events do
      done[event] = string.char(done[event])
    end
    part.done = table.concat(done)
  end
  local left = part.left - delivered - died
  if delivered > 0 then
    total = redis.call('HINCRBY', ledger, 'delivered', delivered)
  end
  if delivered + died > 0 then
    redis.call('HINCRBY', ledger, 'in_flight', 0 - (delivered + died))
  end
  if left == 0 then
    redis.call('DEL', part.record)
    redis.call('XTRIM', part.stream, 'MINID', '=', part.after)
    redis.call('HINCRBY', ledger, 'queued_bytes', 0 - part.bytes)
  else
    redis.call('HSET', part.record, 'done', part.done, 'left', left)
  end
  replies[part.number + 1] = { 'ok', left, redis.call('XLEN', part.stream) }
end
if forgotten > 0 then
  redis.call('HINCRBY', ids, 'count', 0 - forgotten)
end
if plan.success and #open > 0 then
  redis.call('HSET', flow, 'last_success', stamp(now), 'witness', stamp(plan.sent_at))
  if plan.probe then
    redis.call('HDEL', flow, 'parked', 'parked_at', 'probe_at')
  end
  local closed = thrive(flow, total, now, plan.sent_at)
  if plan.probe or closed then
    redis.call('PUBLISH', plan.wake, plan.source)
  end
end
if letters > 0 then
  plan.bound.wake, plan.bound.source = plan.wake, plan.source
  if park_when_full(ledger, flow, plan.bound, now) then
    replies[#replies + 1] = 'full'
  end
end
return replies
