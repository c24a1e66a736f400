#!lua flags=allow-oom
-- Hold a source for the whole fleet, after Segment asked to wait.
--
-- KEYS  1 flow   2 rate   3 ledger
-- ARGV  1 ms to wait   2 wake channel   3 source
--       4 ms when the request was sent, if its answer says that it was too much (429), else 0
--       5 events per second of the source's own limit, 0 for none
-- Returns  {now ms, hold until ms}: the later of this hold and the one in force, one hour from now at most
-- A 429 slows the source down, once until something is accepted, and is a sign of life.
-- Cost  O(1)
--include weather
local now = milliseconds()
local wanted = now + math.min(tonumber(ARGV[1]), 3600000)
local sent_at = tonumber(ARGV[4])
local flow = weather(KEYS[1], now)
local until_ms, wakes = math.max(wanted, flow.hold_until), false
if sent_at > 0 then
  slow_down(flow, KEYS[1], KEYS[3], tonumber(ARGV[5]), sent_at, now)
  wakes = alive(flow, KEYS[1], now, sent_at)
end
if wanted > flow.hold_until then
  redis.call('HSET', KEYS[1], 'held_at', stamp(now))
  redis.call('HSET', KEYS[1], 'hold_until', stamp(wanted))
  -- Saved-up tokens would make a burst of the reopening: it starts with one, or with the debt there is. None grow
  -- during the hold, and what the bucket had left to live it has after it.
  local tokens = math.min(1, tonumber(redis.call('HGET', KEYS[2], 'tokens') or '1'))
  local longer = math.ceil((wanted - math.max(now, flow.hold_until)) / 1000)
  local lifetime = math.max(7200, redis.call('TTL', KEYS[2]) + longer)
  redis.call('HSET', KEYS[2], 'tokens', string.format('%.3f', tokens), 'at', stamp(wanted))
  redis.call('EXPIRE', KEYS[2], lifetime)
  wakes = true
end
-- The way back up begins where sending does.
if sent_at > 0 and redis.call('HEXISTS', KEYS[1], 'pace_at') == 1 then
  redis.call('HSET', KEYS[1], 'pace_at', stamp(until_ms))
end
if wakes then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return { now, until_ms }
