#!lua
-- Append one flush of a producer: its record batches, the ledger and a wake-up hint, in one step.
--
-- KEYS  1 ledger   2 session   3… the stream of each record batch, in the order of ARGV   last: losses, with its ARGV
-- ARGV  1 incarnation of the source   2 sequence of this flush (integer > 0)   3 backlog limit in bytes (0: none)
--       4 session lifetime in seconds   5 wake channel   6 events by type as "type=count,…"
--       then per record batch: 1 wake message   2 events   3 raw bytes   4 payload
--       last: events that Redis accepted in this session before, as its owner was told (0 or left out: not known)
-- Returns  {"ok", queued bytes, idle (1 if a stream was empty), total, forgotten, entry id…}   it is in the queue
--          {"ok", …} again, for the sequence that was applied last
--          {"stale"}                an older sequence than the last applied: it will never be in the queue again
--          {"unknown"}              no such source, or another incarnation of it: nothing was written
--          {"full", queued bytes}   the backlog is at its limit: nothing was written
--          total      events accepted in this session up to now
--          forgotten  how many of those before Redis has lost the trace of: noted in losses, and in the ledger
-- Cost  O(record batches). Refused by the server at maxmemory, as it should be.
--include session
local ledger, session = KEYS[1], KEYS[2]
if redis.call('HGET', ledger, 'incarnation') ~= ARGV[1] then
  return {'unknown'}
end
local answer, last = repeated(session, ARGV[2])
if answer then
  return answer
end
local bytes, events = 0, 0
local batches = math.floor((#ARGV - 6) / 4)
local ends = 6 + 4 * batches
for i = 7, ends, 4 do
  events = events + tonumber(ARGV[i + 1])
  bytes = bytes + #ARGV[i + 3]
end
local queued = tonumber(redis.call('HGET', ledger, 'queued_bytes') or '0')
local limit = tonumber(ARGV[3])
if limit > 0 and queued + bytes > limit then
  return {'full', queued}
end

-- A session that an older pombo began has no total, and an owner who does not know it names none: no alarm.
local known = tonumber(ARGV[ends + 1] or '0')
local total = tonumber(last[3] or (last[1] and known) or '0')
local forgotten = math.max(0, known - total)
if forgotten > 0 then
  redis.call('XADD', KEYS[3 + batches], 'MAXLEN', 100, '*', 'kind', 'append', 'session', string.match(session, '[^:]*$'),
    'forgotten', forgotten)
  redis.call('HINCRBY', ledger, 'forgotten', forgotten)
end
total = math.max(known, total) + events

local reply = {'ok', queued + bytes, 0, total, forgotten}
local idle = {}
for i = 7, ends, 4 do
  local stream = KEYS[3 + (i - 7) / 4]
  if redis.call('XLEN', stream) == 0 then
    idle[#idle + 1] = ARGV[i]
    reply[3] = 1
  end
  reply[#reply + 1] = redis.call('XADD', stream, '*', 'n', ARGV[i + 1], 'r', ARGV[i + 2], 'b', ARGV[i + 3])
end
redis.call('HINCRBY', ledger, 'accepted', events)
redis.call('HINCRBY', ledger, 'queued', events)
redis.call('HINCRBY', ledger, 'queued_bytes', bytes)
for kind, count in string.gmatch(ARGV[6], '(%w+)=(%d+)') do
  redis.call('HINCRBY', ledger, 'accepted:' .. kind, count)
end
redis.call('HSET', session, 'sequence', ARGV[2], 'reply', cjson.encode(reply), 'total', total)
redis.call('EXPIRE', session, ARGV[4])
for _, message in ipairs(idle) do
  redis.call('PUBLISH', ARGV[5], message)
end
return reply
