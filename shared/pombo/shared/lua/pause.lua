#!lua flags=allow-oom
-- Pause a source: nothing is sent until an operator resumes it. The flow keeps since when.
--
-- KEYS  1 flow
-- ARGV  1 wake channel   2 name of the source
-- Returns  1 if this call paused it, 0 if it was paused already
-- Cost  O(1)
--include weather
local paused = redis.call('HSETNX', KEYS[1], 'paused', stamp(milliseconds()))
redis.call('PUBLISH', ARGV[1], ARGV[2])
return paused
