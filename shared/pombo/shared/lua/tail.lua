#!lua
-- Tell what became of events of a source that somebody watches.
--
-- KEYS  1 tail   2 ledger
-- ARGV  1 incarnation of the source   2 entries kept   3 seconds for which they are kept
--       then per event: what is told, JSON   the event, cut
-- Returns  how many were told: none when the source is gone
-- Cost  O(events). Refused by the server at maxmemory: what is told can be done without.
if redis.call('HGET', KEYS[2], 'incarnation') ~= ARGV[1] then
  return 0
end
for i = 4, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'h', ARGV[i], 'b', ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return (#ARGV - 3) / 2
