#!lua flags=allow-oom
-- Let a parked source, or one whose breaker is open, send again, and tell the workers.
--
-- KEYS  1 flow
-- ARGV  1 wake channel   2 name of the source   3 registry version: older settings cannot park it again
-- Returns  1 if it was either, else 0
-- Cost  O(1)
--include weather
local parked = redis.call('HDEL', KEYS[1], 'parked', 'parked_at', 'probe_at')
local now = milliseconds()
local broken = alive(weather(KEYS[1], now), KEYS[1], now)
redis.call('HSET', KEYS[1], 'repaired_at_version', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return (parked > 0 or broken) and 1 or 0
