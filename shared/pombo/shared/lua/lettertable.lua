-- Included: the table of a source's dead letters and their groups, which follow the letters in the same step.
--
-- The table is a string: 32 bytes that are the table's name, then a row of 32 bytes a letter, in the order of their
-- ids: milliseconds (low, high), sequence, number of the group, then what the caller knows of the letter ("marks").
-- Integers are unsigned, of 32 bits, little-endian. The group of a letter that is gone is GONE.
--
-- The groups are a hash: v (version), rows, gone (rows of letters that are gone), added (the stream's `entries-added`
-- when the last row came), next (number of the newest group), groups (how many there are), and for a group N:
-- d:N description, JSON with "fingerprint"; f:FINGERPRINT its number; c:N letters; s:N and l:N when its first and
-- newest letter died, in ms. A draft's groups have "moves" too: calls that took letters away since it was begun.
local ROW, WIDE, MOST_GROUPS, TABLE_VERSION = 32, 4294967296, 1000, '1'
local GONE = '\255\255\255\255'

local function id_of(text)
  local ms, sequence = string.match(text, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local function table_row(id, number, marks)
  local ms, sequence = id_of(id)
  return struct.pack('<I4I4I4I4', ms % WIDE, math.floor(ms / WIDE), sequence, number) .. marks
end

-- A letter came that is the only one: whatever the table says, it starts anew.
local function table_begin(dead, rows, groups, id)
  local info, added = redis.call('XINFO', 'STREAM', dead), 1
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then
      added = info[i + 1]
    end
  end
  redis.call('DEL', rows, groups)
  redis.call('SET', rows, string.format('%-32.32s', 'letters since ' .. id))
  redis.call('HSET', groups, 'v', TABLE_VERSION, 'rows', 0, 'gone', 0, 'added', added - 1, 'next', 0, 'groups', 0)
end

-- The number of a letter's group, which is made if it has to be: among too many, one for the reason takes the letter.
local function group_number(groups, kind, ms)
  local number = redis.call('HGET', groups, 'f:' .. kind.fingerprint)
  local fingerprint, description = kind.fingerprint, kind.description
  if not number and tonumber(redis.call('HGET', groups, 'groups')) >= MOST_GROUPS then
    local told = cjson.decode(description)
    fingerprint = 'other-' .. told.reason .. (told.stuck and '-stuck' or '')
    description = cjson.encode({fingerprint = fingerprint, reason = told.reason, stuck = told.stuck, other = true})
    number = redis.call('HGET', groups, 'f:' .. fingerprint)
  end
  if not number then
    number = redis.call('HINCRBY', groups, 'next', 1)
    redis.call('HINCRBY', groups, 'groups', 1)
    redis.call('HSET', groups, 'f:' .. fingerprint, number, 'd:' .. number, description, 's:' .. number, ms)
  end
  return number
end

-- A letter was added to the stream. `kind`: {marks (16 bytes), fingerprint, description (JSON)}. Without a table, as
-- before an upgrade, or with one of another version, nothing is written: readers see that it does not tell all. So they
-- do where it is as long as Redis lets a string be (512 MB): an error here would come behind the letter.
local function table_add(dead, rows, groups, id, kind)
  local version = redis.call('HGET', groups, 'v')
  if (not version or version == TABLE_VERSION) and redis.call('XLEN', dead) == 1 then
    table_begin(dead, rows, groups, id)
  elseif version ~= TABLE_VERSION or redis.call('EXISTS', rows) == 0 then
    return
  end
  local ms = string.match(id, '^%d+')
  local number = group_number(groups, kind, ms)
  if type(redis.pcall('APPEND', rows, table_row(id, number, kind.marks))) ~= 'number' then
    return
  end
  redis.call('HINCRBY', groups, 'c:' .. number, 1)
  redis.call('HSET', groups, 'l:' .. number, ms)
  redis.call('HINCRBY', groups, 'rows', 1)
  redis.call('HINCRBY', groups, 'added', 1)
end

-- The letter of row `place` (from 0): ms, sequence, group number; nothing behind the last.
local function row_at(rows, place)
  local raw = redis.call('GETRANGE', rows, ROW + place * ROW, ROW + place * ROW + 15)
  if #raw < 16 then
    return nil
  end
  local low, high, sequence, number = struct.unpack('<I4I4I4I4', raw)
  return high * WIDE + low, sequence, number
end

-- The place of a letter's row and its group's number, by halving; first a look at `near`, as letters leave in order.
local function row_of(rows, count, id, near)
  local ms, sequence = id_of(id)
  local at, at_sequence, number = row_at(rows, near)
  if at == ms and at_sequence == sequence then
    return near, number
  end
  local low, high = 0, count - 1
  while low <= high do
    local middle = math.floor((low + high) / 2)
    at, at_sequence, number = row_at(rows, middle)
    if not at then
      return nil
    elseif at == ms and at_sequence == sequence then
      return middle, number
    elseif at < ms or (at == ms and at_sequence < sequence) then
      low = middle + 1
    else
      high = middle - 1
    end
  end
  return nil
end

local function leave_group(groups, number)
  if redis.call('HINCRBY', groups, 'c:' .. number, -1) > 0 then
    return
  end
  local ok, told = pcall(cjson.decode, redis.call('HGET', groups, 'd:' .. number) or '')
  if ok and type(told) == 'table' and told.fingerprint then
    redis.call('HDEL', groups, 'f:' .. told.fingerprint)
  end
  redis.call('HDEL', groups, 'c:' .. number, 'd:' .. number, 's:' .. number, 'l:' .. number)
  redis.call('HINCRBY', groups, 'groups', -1)
end

local function table_remove(rows, groups, ids)
  if redis.call('HGET', groups, 'v') ~= TABLE_VERSION then
    return
  end
  local count, near = math.floor(redis.call('STRLEN', rows) / ROW) - 1, 0
  for _, id in ipairs(ids) do
    local place, number = row_of(rows, count, id, near)
    if place and number ~= 4294967295 then
      redis.call('SETRANGE', rows, ROW + place * ROW + 12, GONE)
      redis.call('HINCRBY', groups, 'gone', 1)
      leave_group(groups, string.format('%.0f', number))
    end
    near = place and place + 1 or near
  end
end

-- Letters left the stream: so they do in the table, and in the draft of a new one. `keys`: {table, groups, and both
-- of the draft}. Where no letter is left, no table is.
local function letters_left(dead, keys, ids)
  if #ids == 0 then
    return
  elseif redis.call('XLEN', dead) == 0 then
    redis.call('UNLINK', keys[1], keys[2], keys[3], keys[4])
    return
  end
  table_remove(keys[1], keys[2], ids)
  if redis.call('EXISTS', keys[4]) == 1 then
    table_remove(keys[3], keys[4], ids)
    redis.call('HINCRBY', keys[4], 'moves', 1)
  end
end
