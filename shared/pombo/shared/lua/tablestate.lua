-- Included: what the table of the dead letters says of itself, beside what the stream says.

-- {letters in the stream, entries ever added to it, rows by the string's length, rows and gone and added by the groups,
--  the groups' version, the table's name}; of what is not there 0 or ''.
local function table_state(dead, rows, groups)
  local letters, added = 0, 0
  if redis.call('EXISTS', dead) == 1 then
    local info = redis.call('XINFO', 'STREAM', dead)
    for i = 1, #info, 2 do
      if info[i] == 'length' then
        letters = info[i + 1]
      elseif info[i] == 'entries-added' then
        added = info[i + 1]
      end
    end
  end
  local told = redis.call('HMGET', groups, 'rows', 'gone', 'added', 'v')
  local stored = math.max(0, math.floor(redis.call('STRLEN', rows) / 32) - 1)
  return {letters, added, stored, tonumber(told[1] or '0'), tonumber(told[2] or '0'), tonumber(told[3] or '0'),
    told[4] or '', redis.call('GETRANGE', rows, 0, 31)}
end
