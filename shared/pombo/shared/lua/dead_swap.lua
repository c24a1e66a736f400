#!lua flags=allow-oom
-- Put the draft of a table of dead letters in the table's place, if it tells all.
--
-- Each of its rows is of a letter that was there when it was read, and letters that leave leave it too: if it has as
-- many rows as there are letters, and no letter came behind the last one read, then it has exactly theirs.
--
-- KEYS  1 dead   2 table   3 groups   4 table and 5 groups of the draft
-- ARGV  1 name of the draft   2 id of the last letter read ("0-0": none)
-- Returns  "ok", "lost" (the draft is gone), "behind" (letters came since: read on), "off" (it can never be right)
-- Cost  O(1)
local function after(id, other)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  local other_ms, other_sequence = string.match(other, '^(%d+)-(%d+)$')
  if tonumber(ms) ~= tonumber(other_ms) then
    return tonumber(ms) > tonumber(other_ms)
  end
  return tonumber(sequence) > tonumber(other_sequence)
end

local letters = redis.call('XLEN', KEYS[1])
if letters == 0 then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  return 'ok'
elseif redis.call('GETRANGE', KEYS[4], 0, 31) ~= ARGV[1] then
  return 'lost'
elseif after(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1], ARGV[2]) then
  return 'behind'
end
local told = redis.call('HMGET', KEYS[5], 'rows', 'gone')
if not told[1] or tonumber(told[1]) - tonumber(told[2]) ~= letters then
  return 'off'
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'entries-added' then
    redis.call('HSET', KEYS[5], 'added', info[i + 1])
  end
end
redis.call('HDEL', KEYS[5], 'moves')
for i = 2, 3 do
  redis.call('UNLINK', KEYS[i])
  redis.call('RENAME', KEYS[i + 2], KEYS[i])
  redis.call('PERSIST', KEYS[i])
end
return 'ok'
