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
-- Saved-up tokens would make a burst of the reopening: it starts with one, or with the debt there is. None grow
-- during the hold, and what the bucket had left to live it has after it.
local tokens = math.min(1, tonumber(redis.call('HGET', KEYS[2], 'tokens') or '1'))
local lifetime = math.max(7200, redis.call('TTL', KEYS[2]) + math.ceil((wanted - math.max(now, current)) / 1000))
redis.call('HSET', KEYS[2], 'tokens', string.format('%.3f', tokens), 'at', stamp)
redis.call('EXPIRE', KEYS[2], lifetime)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return { now, wanted }
