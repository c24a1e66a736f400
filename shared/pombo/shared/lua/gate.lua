-- Included: decides whether a source may send now. Reads only; `pass` writes what passing costs.
--
-- Precedence: park, pause, hold, breaker, rate; see `weather` for the flow hash. The rate hash: `tokens` (events, may
-- be negative: a debt), `at` (ms). What is sent needs its tokens first (all of the burst when it is larger, the rest
-- becomes a debt). While the source reopens one token is enough, so that the first request goes out at once. Below a
-- pace the burst is a tenth of a second's worth: what saved-up tokens let through at once would meet the same limit.
-- Needs `weather`.
local PROBE_EVERY_MS = 300000
local PACED_BURST_S = 0.1

-- Returns {open, reason, wait in ms, probe (of a park), trial (of the breaker), rate in force, pace, tokens}.
local function gate(flow_key, rate_key, limit, burst, events, now)
  local flow = weather(flow_key, now)
  local probe, trial = false, false
  if flow.parked then
    if now < flow.probe_at then
      return { open = false, reason = 'parked', wait = flow.probe_at - now }
    end
    probe = true
  end
  if flow.paused then
    return { open = false, reason = 'paused', wait = PROBE_EVERY_MS }
  end
  if now < flow.hold_until then
    return { open = false, reason = 'held', wait = flow.hold_until - now }
  end
  if flow.broken_at then
    -- It cannot have opened in the future: then Redis' clock went back, and the next trial is due.
    if now < flow.broken_probe_at and flow.broken_at <= now then
      -- Who waits asks again before that: an answer to the trial under way may bring the next one forward.
      local wait = math.min(flow.broken_probe_at - now, trial_interval(now - flow.broken_at))
      return { open = false, reason = 'broken', wait = wait }
    end
    trial = true
  end
  local rate, ramping = rate_in_force(flow, limit, now)
  local paced = pace(flow, limit, now)
  local answer = { open = true, probe = probe, trial = trial, rate = rate, broken_at = flow.broken_at, pace = paced }
  if rate == 0 then
    return answer
  end
  if paced then
    burst = limit == 0 and paced * PACED_BURST_S or math.min(burst, paced * PACED_BURST_S)
  end
  local stored = redis.call('HMGET', rate_key, 'tokens', 'at')
  local tokens, at = tonumber(stored[1] or burst), tonumber(stored[2] or now)
  if at > now + CLOCK_BACK_MS then
    tokens, at = burst, now
  end
  local since = now - opened_at(flow)
  if ramping and (not stored[2] or at < opened_at(flow)) then
    -- What was saved up before would make a burst of the reopening: it starts with one, or with the debt there is.
    tokens, at = math.min(1, tokens), opened_at(flow)
  end
  local elapsed = math.max(0, now - at)
  if ramping then
    -- What the ramp has let through since: its integral, not its present height.
    tokens = math.min(math.max(burst, 1), tokens + (ramped(since) - ramped(since - elapsed)))
  else
    tokens = math.min(burst, tokens + rate * elapsed / 1000)
  end
  local needed = ramping and 1 or math.min(events, burst)
  if tokens < needed then
    local wait = (needed - tokens) / rate * 1000
    if ramping then
      -- The rate doubles meanwhile: at its present height a debt would seem to take all of the ramp.
      local log2 = math.log(2)
      local grown = (needed - tokens) * log2 * 1000 / (RAMP_START * RAMP_DOUBLING_MS)
      wait = math.min(wait, RAMP_DOUBLING_MS * math.log(2 ^ (since / RAMP_DOUBLING_MS) + grown) / log2 - since)
    end
    return { open = false, reason = 'rate', wait = math.ceil(wait), pace = paced }
  end
  answer.tokens = tokens
  return answer
end

local function pass(gated, flow_key, rate_key, events, now)
  if gated.probe then
    redis.call('HSET', flow_key, 'probe_at', stamp(now + PROBE_EVERY_MS))
  end
  if gated.trial then
    -- The answer, when it comes, brings the next one forward: where none comes, trials must not use up all partitions.
    redis.call('HSET', flow_key, 'broken_at', stamp(math.min(gated.broken_at, now)), 'broken_probe_at',
      stamp(now + TRIAL_MOST_MS))
  end
  if gated.rate > 0 then
    redis.call('HSET', rate_key, 'tokens', string.format('%.3f', gated.tokens - events), 'at', stamp(now))
    redis.call('EXPIRE', rate_key, 7200 + math.ceil(math.max(0, events - gated.tokens) / gated.rate))
  end
end
