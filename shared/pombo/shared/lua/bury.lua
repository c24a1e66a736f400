#!lua flags=allow-oom
-- Move the first entry of a partition to the dead letters as it is, because it cannot be read.
--
-- KEYS  1 ledger   2 dead   3 lease   4 record   5 stream   6 flow   7 table   8 groups
-- ARGV  1 lease   2 entry id   3 header of the letter   4 reason
--       5 bound of the letters, JSON: {"limit" (bytes; 0: none), "reason", "version", "wake", "source"}
--       6 marks   7 fingerprint   8 description of its row, see `lettertable`
-- Returns  "ok" (also when the entry is gone already), "lost" (lease), "record" (something is in flight), "moved",
--          "full" (the letters are at their limit: the source is parked, the entry stays)
-- Cost  O(1)
--include letterbound
--include lettertable
local ledger, dead, stream = KEYS[1], KEYS[2], KEYS[5]
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
  return 'lost'
elseif redis.call('EXISTS', KEYS[4]) == 1 then
  return 'record'
end
local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if #redis.call('XRANGE', stream, ARGV[2], ARGV[2]) == 0 then
  return 'ok'
elseif entry[1] ~= ARGV[2] then
  return 'moved'
end
local bound, time = cjson.decode(ARGV[5]), redis.call('TIME')
if letters_full(ledger, bound.limit) then
  park_when_full(ledger, KEYS[6], bound, time[1] * 1000)
  return 'full'
end
local fields = {}
for i = 1, #entry[2], 2 do
  fields[entry[2][i]] = entry[2][i + 1]
end
-- As the append and a recount see it: an entry without a count holds no events. More digits are no number that
-- the ledger can add.
local counted = fields.n and #fields.n <= 15 and string.match(fields.n, '^%d+$')
local events, payload = tonumber(counted or '0'), fields.b or ''

local letter = redis.call('XADD', dead, '*', 'h', ARGV[3], 'b', payload, 'n', events)
table_add(dead, KEYS[7], KEYS[8], letter, {marks = ARGV[6], fingerprint = ARGV[7], description = ARGV[8]})
redis.call('XDEL', stream, ARGV[2])
-- 0 - x, as -x of nothing is "-0", which Redis 7 takes for no number.
redis.call('HINCRBY', ledger, 'queued', 0 - events)
redis.call('HINCRBY', ledger, 'queued_bytes', 0 - #payload)
redis.call('HINCRBY', ledger, 'dead', events)
redis.call('HINCRBY', ledger, 'dead_bytes', #ARGV[3] + #payload)
redis.call('HINCRBY', ledger, 'died:' .. ARGV[4], events)
redis.call('HINCRBY', ledger, 'dead:' .. ARGV[4], events)
return 'ok'
