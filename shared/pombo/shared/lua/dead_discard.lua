#!lua flags=allow-oom
-- Delete dead letters for good, and move the ledger from dead to discarded.
--
-- May run at maxmemory, as it is what frees memory.
--
-- KEYS  1 ledger   2 dead
-- ARGV  the letters' stream ids
-- Returns  events discarded: those of letters that are gone already do not count, so a repeat returns 0
-- Cost  O(letters · log dead letters)
--include letter
local found = {}
for i = 1, #ARGV do
  local entry = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if entry then
    found[#found + 1] = {ARGV[i], letter_events(entry), letter_reason(entry)}
  end
end

local discarded, reasons = 0, {}
for _, letter in ipairs(found) do
  if redis.call('XDEL', KEYS[2], letter[1]) == 1 then
    discarded = discarded + letter[2]
    reasons[letter[3]] = (reasons[letter[3]] or 0) + letter[2]
  end
end
-- Without this check a ledger that Redis lost would come back as one of negative numbers.
if discarded > 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'dead', 0 - discarded)
  redis.call('HINCRBY', KEYS[1], 'discarded', discarded)
  for reason, events in pairs(reasons) do
    redis.call('HINCRBY', KEYS[1], 'dead:' .. reason, 0 - events)
  end
end
return discarded
