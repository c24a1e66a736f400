#!lua flags=allow-oom
-- Remove a source's data, unless it holds events. From then on appends to it are refused as "unknown".
--
-- KEYS  1 ledger   2 dead   3… the source's other keys: streams first, then all that is no stream of events
-- ARGV  1 number of streams   2 "1" to discard the events that it holds
-- Returns  {"ok"}
--          {"holds", queued, in flight, dead, entries stored}      nothing was removed
-- Cost  O(keys); the server frees the memory in the background
local counts = redis.call('HMGET', KEYS[1], 'queued', 'in_flight', 'dead')
local reply = {'holds'}
local held = 0
for i = 1, 3 do
  reply[i + 1] = tonumber(counts[i] or '0')
  held = held + math.abs(reply[i + 1])
end
local entries = redis.call('XLEN', KEYS[2])
for i = 3, 2 + tonumber(ARGV[1]) do
  entries = entries + redis.call('XLEN', KEYS[i])
end
if ARGV[2] ~= '1' and held + entries > 0 then
  reply[5] = entries
  return reply
end
for i = 1, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return {'ok'}
