#!lua flags=allow-oom
-- Park a source: nothing is sent until someone, a changed key or a probe finds it repaired.
--
-- KEYS  1 flow
-- ARGV  1 reason   2 ms until the next probe   3 wake channel   4 source
--       5 registry version of the settings that failed
-- Returns  1 if this call parked it, 0 if it was parked already, or repaired since those settings
-- Whoever refuses lives: the breaker closes.
-- Cost  O(1)
--include weather
local now = milliseconds()
local flow = weather(KEYS[1], now)
local repaired = tonumber(redis.call('HGET', KEYS[1], 'repaired_at_version') or '0')
if flow.parked or tonumber(ARGV[5]) < repaired then
  if alive(flow, KEYS[1], now) then
    redis.call('PUBLISH', ARGV[3], ARGV[4])
  end
  return 0
end
alive(flow, KEYS[1], now)
redis.call('HSET', KEYS[1], 'parked', ARGV[1], 'parked_at', stamp(now), 'probe_at', stamp(now + tonumber(ARGV[2])))
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
