#!lua
-- Begin the draft of a new table of dead letters, or add rows to it. A draft that nobody adds to is gone by itself.
--
-- KEYS  1 table and 2 groups of the draft
-- ARGV  1 name of the draft (32 bytes)   2 "" to begin it, or to begin it again, else its "moves" when the letters of these rows were read
--       3 ms until it is gone   4 the rows
--       then per group in them: 1 number   2 letters   3 ms of the first and 4 of the newest   5 fingerprint
--       6 description
-- Returns  "ok", "busy" (somebody else's draft is there), "lost" (it is gone), "moved" (letters were taken away since:
--          read them again), "large" (Redis lets no string be longer: there can be no table)
-- Cost  O(rows + groups). Refused by the server at maxmemory: whoever reads can do without a table.
local rows, groups = KEYS[1], KEYS[2]
local name = redis.call('GETRANGE', rows, 0, 31)
if ARGV[2] == '' then
  if name ~= '' and name ~= ARGV[1] then
    return 'busy'
  end
  redis.call('DEL', groups)
  redis.call('SET', rows, ARGV[1])
  redis.call('HSET', groups, 'v', '1', 'rows', 0, 'gone', 0, 'next', 0, 'groups', 0, 'moves', 0)
elseif name ~= ARGV[1] then
  return 'lost'
elseif redis.call('HGET', groups, 'moves') ~= ARGV[2] then
  return 'moved'
end

if type(redis.pcall('APPEND', rows, ARGV[4])) ~= 'number' then
  redis.call('UNLINK', rows, groups)
  return 'large'
end
redis.call('HINCRBY', groups, 'rows', #ARGV[4] / 32)
for i = 5, #ARGV, 6 do
  local number = ARGV[i]
  redis.call('HINCRBY', groups, 'c:' .. number, ARGV[i + 1])
  redis.call('HSET', groups, 'l:' .. number, ARGV[i + 3])
  if redis.call('HSETNX', groups, 'd:' .. number, ARGV[i + 5]) == 1 then
    redis.call('HSET', groups, 's:' .. number, ARGV[i + 2], 'f:' .. ARGV[i + 4], number)
    redis.call('HINCRBY', groups, 'groups', 1)
    if tonumber(number) > tonumber(redis.call('HGET', groups, 'next')) then
      redis.call('HSET', groups, 'next', number)
    end
  end
end
redis.call('PEXPIRE', rows, ARGV[3])
redis.call('PEXPIRE', groups, ARGV[3])
return 'ok'
