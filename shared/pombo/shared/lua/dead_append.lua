#!lua
-- Accept events that are dead from the start, in one step with the ledger: what a gateway can neither hand on nor
-- lose.
--
-- Unlike a worker at the letters' limit it parks nothing: what comes from outside stops no delivery.
--
-- KEYS  1 ledger   2 session   3 dead   4 table   5 groups
-- ARGV  1 incarnation of the source   2 sequence of this call (integer > 0)   3 limit of the letters in bytes (0: none)
--       4 session lifetime in seconds   5 events by type as "type=count,…"
--       then per letter: 1 reason   2 header   3 payload   4 events   5 marks   6 fingerprint   7 description of its row,
--       see `lettertable`
-- Returns  {"ok", bytes of all letters}    they are stored
--          {"ok", …} again, for the sequence that was applied last
--          {"stale"}          an older sequence than the last applied: they will never be stored again
--          {"unknown"}        no such source, or another incarnation of it: nothing was written
--          {"full", bytes}    the letters are at their limit: nothing was written
-- Cost  O(letters). Refused by the server at maxmemory, like every append.
--include letterbound
--include lettertable
--include lettercome
--include session
local ledger, session, dead = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', ledger, 'incarnation') ~= ARGV[1] then
  return {'unknown'}
end
local answer = repeated(session, ARGV[2])
if answer then
  return answer
end
local held = tonumber(redis.call('HGET', ledger, 'dead_bytes') or '0')
if letters_full(ledger, tonumber(ARGV[3])) then
  return {'full', held}
end

local letters = {}
for i = 6, #ARGV, 7 do
  letters[#letters + 1] = letter_at(ARGV, i)
end
local bytes = letters_come(ledger, dead, KEYS[4], KEYS[5], letters)
for kind, count in string.gmatch(ARGV[5], '(%w+)=(%d+)') do
  redis.call('HINCRBY', ledger, 'accepted:' .. kind, count)
end
local reply = {'ok', held + bytes}
redis.call('HSET', session, 'sequence', ARGV[2], 'reply', cjson.encode(reply))
redis.call('EXPIRE', session, ARGV[4])
return reply
