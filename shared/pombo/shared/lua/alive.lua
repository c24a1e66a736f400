#!lua flags=allow-oom
-- Note that Segment answers a source, if only to refuse: its breaker closes.
--
-- KEYS  1 flow
-- ARGV  1 wake channel   2 source   3 ms when the request was sent
-- Returns  1 if the breaker was open, else 0
-- Cost  O(1)
--include weather
local now = milliseconds()
if not alive(weather(KEYS[1], now), KEYS[1], now, tonumber(ARGV[3])) then
  return 0
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
