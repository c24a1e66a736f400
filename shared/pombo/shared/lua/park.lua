#!lua flags=allow-oom
-- Park a source: nothing is sent until someone, a changed key or a probe finds it repaired.
--
-- KEYS  1 flow
-- ARGV  1 reason   2 ms until the next probe   3 wake channel   4 source
--       5 registry version of the settings that failed
-- Returns  1 if this call parked it, 0 if it was parked already, or repaired since those settings
-- Cost  O(1)
local flow = redis.call('HMGET', KEYS[1], 'parked', 'repaired_at_version')
if flow[1] or tonumber(ARGV[5]) < tonumber(flow[2] or '0') then
  return 0
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], 'parked', ARGV[1], 'parked_at', string.format('%.0f', now),
  'probe_at', string.format('%.0f', now + tonumber(ARGV[2])))
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
