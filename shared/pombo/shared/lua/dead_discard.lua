#!lua flags=allow-oom
-- Delete dead letters for good, and move the ledger from dead to discarded.
--
-- May run at maxmemory, as it is what frees memory. It ends a park that letters at their limit were the reason of.
--
-- KEYS  1 ledger   2 dead   3 flow   4 table   5 groups   6 table and 7 groups of the draft
-- ARGV  1 wake channel   2 source   3… the letters' stream ids
-- Returns  events discarded: those of letters that are gone already do not count, so a repeat returns 0
-- Cost  O(letters · log dead letters)
--include letter
--include letterbound
--include lettertable
local found = {}
for i = 3, #ARGV do
  local entry = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if entry then
    found[#found + 1] = {ARGV[i], letter_events(entry), letter_reason(entry), letter_bytes(entry)}
  end
end

local discarded, bytes, reasons, left = 0, 0, {}, {}
for _, letter in ipairs(found) do
  if redis.call('XDEL', KEYS[2], letter[1]) == 1 then
    left[#left + 1] = letter[1]
    discarded = discarded + letter[2]
    bytes = bytes + letter[4]
    reasons[letter[3]] = (reasons[letter[3]] or 0) + letter[2]
  end
end
letters_left(KEYS[2], {KEYS[4], KEYS[5], KEYS[6], KEYS[7]}, left)
-- Without this check a ledger that Redis lost would come back as one of negative numbers.
if bytes > 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'dead', 0 - discarded)
  redis.call('HINCRBY', KEYS[1], 'dead_bytes', 0 - bytes)
  redis.call('HINCRBY', KEYS[1], 'discarded', discarded)
  for reason, events in pairs(reasons) do
    redis.call('HINCRBY', KEYS[1], 'dead:' .. reason, 0 - events)
  end
  unpark_when_free(KEYS[1], KEYS[3], ARGV[1], ARGV[2])
end
return discarded
