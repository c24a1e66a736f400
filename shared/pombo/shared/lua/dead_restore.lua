#!lua
-- Put letters back that a file holds, each once, however often the file is imported and by whom, in one step with the
-- ledger.
--
-- Of an import Redis remembers one bit a line of its file, and of the last call which letters it put back: a call that
-- is repeated, as its answer was lost, is told again what it did.
--
-- KEYS  1 ledger   2 import (hash)   3 its lines (bitmap)   4 dead   5 table   6 groups
-- ARGV  1 incarnation of the source   2 id of this call, for repeats   3 limit of the letters in bytes (0: none)
--       4 seconds for which the import is remembered
--       then per letter: 1 its line in the file, from 1   2 its type   3 reason   4 header   5 payload   6 events
--       7 marks   8 fingerprint   9 description of its row, see `lettertable`
-- Returns  {"ok", letters put back}   the others had been put back before, by whatever call
--          {"unknown"}        no such source, or another incarnation of it: nothing was written
--          {"full", bytes}    the letters are at their limit, and some are to come: nothing was written
-- Cost  O(letters). Refused by the server at maxmemory, like every append.
--include letterbound
--include lettertable
--include lettercome
local ledger, import, lines, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('HGET', ledger, 'incarnation') ~= ARGV[1] then
  return {'unknown'}
end
local last = redis.call('HMGET', import, 'call', 'put')
if last[1] == ARGV[2] then
  return {'ok', tonumber(last[2])}
end
local letters, places, kinds = {}, {}, {}
for i = 5, #ARGV, 9 do
  if redis.call('GETBIT', lines, ARGV[i]) == 0 then
    local letter = letter_at(ARGV, i + 2)
    letters[#letters + 1] = letter
    places[#places + 1] = ARGV[i]
    kinds[ARGV[i + 1]] = (kinds[ARGV[i + 1]] or 0) + tonumber(letter.events)
  end
end
if #letters > 0 and letters_full(ledger, tonumber(ARGV[3])) then
  return {'full', tonumber(redis.call('HGET', ledger, 'dead_bytes') or '0')}
end
if #letters > 0 then
  letters_come(ledger, dead, KEYS[5], KEYS[6], letters)
  for kind, count in pairs(kinds) do
    redis.call('HINCRBY', ledger, 'accepted:' .. kind, count)
  end
  for _, place in ipairs(places) do
    redis.call('SETBIT', lines, place, 1)
  end
end
redis.call('HSET', import, 'call', ARGV[2], 'put', #letters)
redis.call('EXPIRE', import, ARGV[4])
redis.call('EXPIRE', lines, ARGV[4])
return {'ok', #letters}
