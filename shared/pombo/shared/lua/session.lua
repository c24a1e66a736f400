-- Included: a producer session's last call, and what a call gets that is not its next one.

-- The answer to a call of that sequence that was applied before, or is too old to be; nil for one to apply. Then what
-- is stored: the last sequence, its reply, events accepted.
local function repeated(session, sequence)
  local last = redis.call('HMGET', session, 'sequence', 'reply', 'total')
  if not last[1] or tonumber(last[1]) < tonumber(sequence) then
    return nil, last
  elseif tonumber(last[1]) == tonumber(sequence) then
    return cjson.decode(last[2])
  end
  return {'stale'}
end
