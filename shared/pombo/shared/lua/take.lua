#!lua flags=allow-oom
-- Take tokens of a rate group's bucket, before a claim of one of its sources.
--
-- KEYS  1 rate
-- ARGV  1 events per second   2 burst   3 events wanted (negative: give back what was not used)
-- Returns  {1, 0} taken   {0, wait ms} not yet
-- Cost  O(1)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local elapsed = math.max(0, now - tonumber(stored[2] or now))
local tokens = math.min(burst, tonumber(stored[1] or burst) + rate * elapsed / 1000)
local needed = math.min(wanted, burst)
if wanted > 0 and tokens < needed then
  return { 0, math.ceil((needed - tokens) / rate * 1000) }
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.3f', math.min(burst, tokens - wanted)), 'at', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], 7200 + math.ceil(math.max(0, wanted - tokens) / rate))
return { 1, 0 }
