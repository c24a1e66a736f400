#!lua flags=allow-oom
-- Let a parked source send again, and tell the workers.
--
-- KEYS  1 flow
-- ARGV  1 wake channel   2 name of the source   3 registry version: older settings cannot park it again
-- Returns  1 if it was parked, else 0
-- Cost  O(1)
local parked = redis.call('HDEL', KEYS[1], 'parked', 'parked_at', 'probe_at')
redis.call('HSET', KEYS[1], 'repaired_at_version', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return parked > 0 and 1 or 0
