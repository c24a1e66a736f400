-- Included: decides whether a source may send now. Reads only; `pass` writes what passing costs.
--
-- The flow hash: `paused` (any value), `parked` (reason), `parked_at`, `probe_at`, `hold_until` (all ms of Redis'
-- clock), `last_success` (ms). The rate hash: `tokens` (events, may be negative: a debt), `at` (ms).
-- Precedence: park, pause, hold, rate. What is sent needs its tokens first (all of the burst when it is larger, the
-- rest becomes a debt). After a hold the rate climbs from RAMP_START, doubling every half second, for RAMP_MS at
-- most; one token is enough then, so that the first request goes out as soon as the hold ends.
local RAMP_START, RAMP_DOUBLING_MS, RAMP_MS = 100, 500, 5000
local PROBE_EVERY_MS = 300000

local function milliseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Events that the ramp lets through in its first `since` ms.
local function ramped(since)
  return RAMP_START * RAMP_DOUBLING_MS / 1000 / math.log(2) * (2 ^ (math.max(0, since) / RAMP_DOUBLING_MS) - 1)
end

local function effective_rate(limit, hold_until, now)
  local since = now - hold_until
  if hold_until > 0 and since < RAMP_MS then
    local ramp = RAMP_START * 2 ^ (since / RAMP_DOUBLING_MS)
    if limit == 0 or ramp < limit then
      return ramp, true
    end
  end
  return limit, false
end

-- Returns {open, reason, wait in ms, probe, rate in force, tokens}.
local function gate(flow_key, rate_key, limit, burst, events, now)
  local flow = redis.call('HMGET', flow_key, 'parked', 'probe_at', 'paused', 'hold_until')
  local hold_until = tonumber(flow[4] or '0')
  local probe = false
  if flow[1] then
    local probe_at = tonumber(flow[2] or '0')
    if now < probe_at then
      return { open = false, reason = 'parked', wait = probe_at - now }
    end
    probe = true
  end
  if flow[3] then
    return { open = false, reason = 'paused', wait = PROBE_EVERY_MS }
  end
  if now < hold_until then
    return { open = false, reason = 'held', wait = hold_until - now }
  end
  local rate, ramping = effective_rate(limit, hold_until, now)
  if rate == 0 then
    return { open = true, probe = probe, rate = 0 }
  end
  local stored = redis.call('HMGET', rate_key, 'tokens', 'at')
  local tokens = tonumber(stored[1] or burst)
  local elapsed = math.max(0, now - tonumber(stored[2] or now))
  if ramping then
    -- What the ramp has let through since: its integral, not its present height.
    tokens = math.min(burst, tokens + ramped(now - hold_until) - ramped(now - hold_until - elapsed))
  else
    tokens = math.min(burst, tokens + rate * elapsed / 1000)
  end
  local needed = ramping and 1 or math.min(events, burst)
  if tokens < needed then
    local wait = (needed - tokens) / rate * 1000
    if ramping then
      -- The rate doubles meanwhile: at its present height a debt would seem to take all of the ramp.
      local since, log2 = now - hold_until, math.log(2)
      local grown = (needed - tokens) * log2 * 1000 / (RAMP_START * RAMP_DOUBLING_MS)
      wait = math.min(wait, RAMP_DOUBLING_MS * math.log(2 ^ (since / RAMP_DOUBLING_MS) + grown) / log2 - since)
    end
    return { open = false, reason = 'rate', wait = math.ceil(wait) }
  end
  return { open = true, probe = probe, rate = rate, tokens = tokens }
end

local function pass(gated, flow_key, rate_key, events, now)
  if gated.probe then
    redis.call('HSET', flow_key, 'probe_at', string.format('%.0f', now + PROBE_EVERY_MS))
  end
  if gated.rate > 0 then
    redis.call('HSET', rate_key, 'tokens', string.format('%.3f', gated.tokens - events), 'at', string.format('%.0f', now))
    redis.call('EXPIRE', rate_key, 7200 + math.ceil(math.max(0, events - gated.tokens) / gated.rate))
  end
end
