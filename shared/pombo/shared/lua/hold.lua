#!lua flags=allow-oom
-- Hold a source for the whole fleet, after Segment asked to wait.
--
-- KEYS  1 flow   2 rate
-- ARGV  1 ms to wait   2 wake channel   3 source
-- Returns  {now ms, hold until ms}: the later of this hold and the one in force, one hour from now at most
-- Cost  O(1)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local wanted = now + math.min(tonumber(ARGV[1]), 3600000)
local current = tonumber(redis.call('HGET', KEYS[1], 'hold_until') or '0')
if wanted <= current then
  return { now, current }
end
local stamp = string.format('%.0f', wanted)
redis.call('HSET', KEYS[1], 'hold_until', stamp)
-- Saved-up tokens would make a burst of the reopening: it starts with one. A debt stays.
local tokens = redis.call('HGET', KEYS[2], 'tokens')
if not tokens or tonumber(tokens) > 1 then
  redis.call('HSET', KEYS[2], 'tokens', 1, 'at', stamp)
  redis.call('EXPIRE', KEYS[2], 7200)
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return { now, wanted }
