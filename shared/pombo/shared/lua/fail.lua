#!lua flags=allow-oom
-- Report a request that failed as an outage makes requests fail; so many in a row open the source's breaker.
--
-- KEYS  1 flow   2 ledger
-- ARGV  1 ms when it was sent   2 1 if no answer came in time, else 0   3 what happened
--       4 events per second of the source's own limit, 0 for none
-- Returns  {now ms, broken (0|1), 1 if this report opened the breaker}
-- The failure of a trial brings the next one forward: without an answer it would be due 5 s after the last.
-- No answer in time also slows the source down, once until something is accepted. What was sent before the breaker
-- last closed counts for nothing. A repeat may count a failure twice, which no more than opens the breaker earlier.
-- Cost  O(1)
--include weather
local now, sent_at = milliseconds(), tonumber(ARGV[1])
local flow = weather(KEYS[1], now)
if flow.broken_at then
  if sent_at >= flow.broken_at then
    -- A trial knows better than whoever opened it.
    local due = sent_at + trial_interval(sent_at - flow.broken_at)
    redis.call('HSET', KEYS[1], 'broken_why', ARGV[3], 'broken_probe_at', stamp(math.min(flow.broken_probe_at, due)))
  end
  return { now, 1, 0 }
end
if sent_at <= flow.closed_at then
  return { now, 0, 0 }
end
if redis.call('HINCRBY', KEYS[1], 'failures', 1) < BREAK_AFTER then
  if ARGV[2] == '1' then
    slow_down(flow, KEYS[1], KEYS[2], tonumber(ARGV[4]), sent_at, now)
  end
  return { now, 0, 0 }
end
redis.call('HSET', KEYS[1], 'broken_at', stamp(now), 'broken_probe_at', stamp(now + TRIAL_LEAST_MS), 'broken_why', ARGV[3])
-- An outage says nothing about what Segment can take.
redis.call('HDEL', KEYS[1], 'pace_max', 'pace_at')
return { now, 1, 1 }
