-- Included: how Segment's answers shut, slow and reopen a source.
--
-- The flow hash (times in ms of Redis' clock): `paused` (since when; `1` of an older pombo), `parked` (reason),
-- `parked_at`, `probe_at`, `held_at` (when the hold was asked for), `hold_until`, `last_success`, `witness` (when the
-- request was sent that was accepted last). The breaker: `failures` (in a row, of the fleet), `broken_at`,
-- `broken_probe_at`, `broken_why`, `closed_at` (when it last closed). The pace: `pace_max` (events/s that met a limit),
-- `pace_at` (when its curve begins), `throughput` (events/s delivered at best of late, sampled at `sampled_at` with
-- `sampled` events).
local RAMP_START, RAMP_DOUBLING_MS, RAMP_MS = 100, 500, 5000
local BREAK_AFTER = 5
local TRIAL_SHARE, TRIAL_LEAST_MS, TRIAL_MOST_MS = 0.1, 1000, 5000
-- Found by simulation: behind a limit of half of ours a shorter curve meets it too often, a deeper cut wastes more. The
-- flat part of the curve lies a little below the rate that was too much.
local PACE_CUT, PACE_MS, PACE_AIM = 0.2, 30000, 0.95
-- Without a limit of ours the curve is followed for so many PACE_MS.
local PACE_ENDS = 3
-- Segment's documented ceiling: whoever has no limit of ours, and sends little, is not cut below it.
local LEAST_MEASURED = 1000
-- A bucket filled this far ahead of now was filled by a clock that has gone back since: it would give nothing till then.
local CLOCK_BACK_MS = 1000
local SAMPLE_MS, SAMPLE_MOST_MS, SAMPLE_DECAY = 1000, 10000, 0.9

local function milliseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function stamp(ms)
  return string.format('%.0f', ms)
end

local FIELDS = { 'parked', 'probe_at', 'paused', 'held_at', 'hold_until', 'failures', 'broken_at', 'broken_probe_at',
  'closed_at', 'pace_max', 'pace_at', 'throughput', 'sampled', 'sampled_at', 'last_success' }

local function weather(flow_key, now)
  local stored, flow = redis.call('HMGET', flow_key, unpack(FIELDS)), {}
  for number, field in ipairs(FIELDS) do
    flow[field] = stored[number] or nil
  end
  flow.broken_at = tonumber(flow.broken_at or '')
  for _, field in ipairs({ 'probe_at', 'held_at', 'hold_until', 'failures', 'broken_probe_at', 'closed_at', 'pace_max',
    'pace_at', 'throughput', 'sampled', 'sampled_at', 'last_success' }) do
    flow[field] = tonumber(flow[field] or '0') or 0
  end
  -- What began in the future began before Redis' clock went back: nobody is to wait until it is that late again.
  local latest = now + CLOCK_BACK_MS
  if flow.held_at > latest then
    flow.hold_until = 0
  end
  if flow.closed_at > latest then
    flow.closed_at = 0
  end
  if flow.pace_at > math.max(latest, flow.hold_until) then
    flow.pace_max, flow.pace_at = 0, 0
  end
  return flow
end

-- When the source last began to send again, after a hold or an outage.
local function opened_at(flow)
  return math.max(flow.hold_until, flow.closed_at)
end

-- Events that the ramp lets through in its first `since` ms.
local function ramped(since)
  return RAMP_START * RAMP_DOUBLING_MS / 1000 / math.log(2) * (2 ^ (math.max(0, since) / RAMP_DOUBLING_MS) - 1)
end

-- Events/s that the pace allows; nil when there is none or the limit is as low. `shared.flow.pace` is the same.
local function pace(flow, limit, now)
  if flow.pace_max == 0 then
    return nil
  end
  local way = math.max(0, now - flow.pace_at) / PACE_MS
  local rate = flow.pace_max * (1 + PACE_CUT * (way - 1) ^ 3)
  if limit > 0 then
    rate = math.max(rate, 1, limit / 100)
    return rate < limit and rate or nil
  end
  return way < PACE_ENDS and math.max(rate, 1) or nil
end

-- Returns events/s (0: no limit), and whether it is the ramp's.
local function rate_in_force(flow, limit, now)
  local rate, since = pace(flow, limit, now) or limit, now - opened_at(flow)
  if opened_at(flow) > 0 and since >= 0 and since < RAMP_MS then
    local ramp = RAMP_START * 2 ^ (since / RAMP_DOUBLING_MS)
    if rate == 0 or ramp < rate then
      return ramp, true
    end
  end
  return rate, false
end

-- How long after one trial the next may go out, `broken` ms after the breaker opened.
local function trial_interval(broken)
  return math.min(TRIAL_MOST_MS, math.max(TRIAL_LEAST_MS, broken * TRIAL_SHARE))
end

-- A sign of life: what failed before counts no more, and an open breaker closes. Returns whether it was open. What
-- was sent (nil: now) before the breaker opened, and is answered late, says nothing about the time since.
local function alive(flow, flow_key, now, sent_at)
  if flow.broken_at then
    if (sent_at or now) < flow.broken_at and flow.broken_at <= now then
      return false
    end
    redis.call('HDEL', flow_key, 'failures', 'broken_at', 'broken_probe_at', 'broken_why')
    redis.call('HSET', flow_key, 'closed_at', stamp(now))
    return true
  end
  if flow.failures > 0 then
    redis.call('HDEL', flow_key, 'failures')
  end
  return false
end

-- Segment cannot take as much as it got: cut the pace, or the limit, at which that was sent, once for all that was sent
-- before the cut, and not again before something was accepted since sending began again: while all is refused, nothing
-- tells how much is too much. Nor does a ramp, which is low by itself. What was sent before an outage says nothing about
-- the time after it.
local function slow_down(flow, flow_key, ledger_key, limit, sent_at, now)
  if flow.broken_at or sent_at <= math.max(flow.pace_at, flow.closed_at) then
    return
  end
  local paced = pace(flow, limit, math.min(sent_at, now))
  if paced and flow.last_success <= flow.pace_at then
    return
  end
  local rate = paced or limit
  if rate == 0 then
    if flow.sampled_at == 0 then
      return -- Neither a limit nor a measure: the hold alone has to do.
    end
    local since = tonumber(redis.call('HGET', ledger_key, 'delivered') or '0') - flow.sampled
    local age = math.max(SAMPLE_MS, now - flow.sampled_at)
    rate = math.max(LEAST_MEASURED, flow.throughput, since * 1000 / age)
  end
  redis.call('HSET', flow_key, 'pace_max', string.format('%.3f', rate * PACE_AIM), 'pace_at', stamp(now))
end

-- A request was accepted, with which the ledger counts `total` delivered (nil: as before): a sign of life, and every
-- second or so a sample of the throughput. Returns whether the breaker was open.
local function thrive(flow_key, total, now, sent_at)
  local stored = redis.call('HMGET', flow_key, 'failures', 'broken_at', 'sampled', 'sampled_at', 'throughput')
  local age = now - tonumber(stored[4] or '0')
  if total and age >= SAMPLE_MS then
    redis.call('HSET', flow_key, 'sampled', total, 'sampled_at', stamp(now))
    if age <= SAMPLE_MOST_MS then
      local throughput = math.max((total - tonumber(stored[3])) * 1000 / age, tonumber(stored[5] or '0') * SAMPLE_DECAY)
      redis.call('HSET', flow_key, 'throughput', string.format('%.3f', throughput))
    end
  end
  local flow = { failures = tonumber(stored[1] or '0'), broken_at = tonumber(stored[2] or '') }
  return alive(flow, flow_key, now, sent_at)
end
