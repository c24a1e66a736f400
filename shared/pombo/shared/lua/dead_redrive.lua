#!lua
-- Move dead letters to the end of their partitions' streams, and the ledger from dead to queued.
--
-- A letter becomes one event of a new record batch. A batch is moved only if all its letters are still there: it was
-- built from all of them, so that the caller has to build it again without those that are gone.
--
-- It ends a park that letters at their limit were the reason of.
--
-- KEYS  1 ledger   2 dead   3 flow   4 table   5 groups   6 table and 7 groups of the draft   8… streams
-- ARGV  1 incarnation of the source   2 wake channel   3 source
--       then per batch: 1 index of its stream in KEYS   2 the letters' stream ids, as "id,id,…"   3 events
--       4 raw bytes   5 payload   6 wake message
-- Returns  {"ok", batch…}    each batch an array of the ids that are gone: empty when it was moved
--          {"unknown"}       no such source, or another incarnation of it: nothing was written
-- Cost  O(letters · log dead letters). Refused by the server at maxmemory, like every append.
--include letter
--include letterbound
--include lettertable
local ledger, dead = KEYS[1], KEYS[2]
if redis.call('HGET', ledger, 'incarnation') ~= ARGV[1] then
  return {'unknown'}
end

local reply, whole, taken, left = {'ok'}, {}, {}, {}
for i = 4, #ARGV, 6 do
  local ids, gone, reasons, bytes = {}, {}, {}, 0
  for id in string.gmatch(ARGV[i + 1], '[^,]+') do
    local entry = redis.call('XRANGE', dead, id, id)[1]
    if not entry or taken[id] or letter_events(entry) ~= 1 then
      gone[#gone + 1] = id
    else
      local reason = letter_reason(entry)
      reasons[reason] = (reasons[reason] or 0) + 1
      bytes = bytes + letter_bytes(entry)
    end
    ids[#ids + 1] = id
  end
  assert(#ids == tonumber(ARGV[i + 2]), 'a batch must hold one event a letter')
  if #gone == 0 then
    whole[#whole + 1] = {at = i, stream = KEYS[tonumber(ARGV[i])], ids = ids, reasons = reasons, bytes = bytes}
    for _, id in ipairs(ids) do
      taken[id] = true
      left[#left + 1] = id
    end
  end
  reply[#reply + 1] = gone
end

for _, batch in ipairs(whole) do
  local i, events = batch.at, #batch.ids
  if redis.call('XLEN', batch.stream) == 0 then
    redis.call('PUBLISH', ARGV[2], ARGV[i + 5])
  end
  redis.call('XADD', batch.stream, '*', 'n', ARGV[i + 2], 'r', ARGV[i + 3], 'b', ARGV[i + 4])
  redis.call('XDEL', dead, unpack(batch.ids))
  redis.call('HINCRBY', ledger, 'dead', 0 - events)
  redis.call('HINCRBY', ledger, 'dead_bytes', 0 - batch.bytes)
  for reason, count in pairs(batch.reasons) do
    redis.call('HINCRBY', ledger, 'dead:' .. reason, 0 - count)
  end
  redis.call('HINCRBY', ledger, 'queued', events)
  redis.call('HINCRBY', ledger, 'queued_bytes', #ARGV[i + 4])
end
if #whole > 0 then
  letters_left(dead, {KEYS[4], KEYS[5], KEYS[6], KEYS[7]}, left)
  unpark_when_free(ledger, KEYS[3], ARGV[2], ARGV[3])
end
return reply
