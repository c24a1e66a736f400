#!lua flags=allow-oom
-- Take tokens of a rate group's bucket, before a claim of one of its sources.
--
-- KEYS  1 rate
-- ARGV  1 events per second   2 burst   3 events wanted (negative: give back what was not used)
--       4 random id of this call: the latest are kept, and a repeat takes nothing more
-- Returns  {1, 0} taken   {0, wait ms} not yet
-- Cost  O(1)
--include weather
local KEPT = 32
local now = milliseconds()
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'taken')
local taken, call = stored[3] or '', ARGV[4] .. ' '
if string.find(taken, call, 1, true) then
  return { 1, 0 }
end
local filled, at = tonumber(stored[1] or burst), tonumber(stored[2] or now)
if at > now + CLOCK_BACK_MS then
  filled = burst
end
local tokens = math.min(burst, filled + rate * math.max(0, now - at) / 1000)
local needed = math.min(wanted, burst)
if wanted > 0 and tokens < needed then
  return { 0, math.ceil((needed - tokens) / rate * 1000) }
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.3f', math.min(burst, tokens - wanted)), 'at', stamp(now),
  'taken', call .. string.sub(taken, 1, (KEPT - 1) * #call))
redis.call('EXPIRE', KEYS[1], 7200 + math.ceil(math.max(0, wanted - tokens) / rate))
return { 1, 0 }
