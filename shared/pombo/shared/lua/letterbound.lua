-- Included: the bound on a source's dead letters, whose headers and payloads the ledger counts as `dead_bytes`.
--
-- At its limit the source is parked: the reason begins with FULL, `dead_limit` keeps the limit, and there is no
-- probe, as each could bring more of them. Whoever takes letters away ends that park in the same step.
local FULL = 'its dead letters are at their limit'
local NEVER = '9999999999999'

local function letters_full(ledger, limit)
  return limit > 0 and tonumber(redis.call('HGET', ledger, 'dead_bytes') or '0') >= limit
end

-- `bound`: {limit, reason, version (registry's, of the settings that say so), wake, source}. Returns whether it parked.
local function park_when_full(ledger, flow, bound, now)
  if not letters_full(ledger, bound.limit) then
    return false
  end
  local stored = redis.call('HMGET', flow, 'parked', 'repaired_at_version')
  if stored[1] or bound.version < tonumber(stored[2] or '0') then
    return false
  end
  redis.call('HSET', flow, 'parked', bound.reason, 'parked_at', string.format('%.0f', now), 'probe_at', NEVER,
    'dead_limit', bound.limit)
  redis.call('PUBLISH', bound.wake, bound.source)
  return true
end

local function unpark_when_free(ledger, flow, wake, source)
  local stored = redis.call('HMGET', flow, 'parked', 'dead_limit')
  if not stored[1] or string.sub(stored[1], 1, #FULL) ~= FULL or letters_full(ledger, tonumber(stored[2] or '1')) then
    return
  end
  redis.call('HDEL', flow, 'parked', 'parked_at', 'probe_at', 'dead_limit')
  redis.call('PUBLISH', wake, source)
end
