#!lua flags=no-writes
-- Recount what a source holds from its stored data, and read its ledger, at one moment.
--
-- KEYS  1 ledger   2 dead   3 losses   4 table   5 groups   6… stream and in-flight record of each partition, in turn
-- ARGV  1 oldest and 2 newest known version of record batches (integers)   3 version of in-flight records
--       4 entries read at a time
-- Returns  {ledger as field, value…; events dead; bytes of dead letters; losses noted;
--           what `tablestate` says of their table; then per partition:
--           {events queued, bytes, entries of an unknown version, entries that are no record batches, record}}
--          record  {}                                                  there is none
--                  {version}                                           of an unknown version, or incomplete
--                  {version, unfinished, events, left, events of its entries, 1 if its first entry is there}
-- Cost  O(entries of all streams + dead letters), a page of entries in memory at a time. The server answers nobody
--       else meanwhile: 11 µs an entry of 7 kB measured, 0.35 s for 3.2 million events. Not for every scrape.
--include tablestate
local OLDEST, NEWEST, KNOWN_RECORD, PAGE = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

local function fields(list)
  local found = {}
  for i = 1, #list, 2 do
    found[list[i]] = list[i + 1]
  end
  return found
end

local function walk(stream, start, stop, visit)
  repeat
    local page = redis.call('XRANGE', stream, start, stop, 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      visit(fields(entry[2]))
    end
    if #page > 0 then
      start = '(' .. page[#page][1]
    end
  until #page == 0
end

local function count_stream(stream, start, stop, totals)
  local events = 0
  walk(stream, start, stop, function(entry)
    local n, batch = tonumber(entry.n), entry.b
    if not n or not batch or #batch == 0 then
      totals.malformed = totals.malformed + 1
    elseif batch:byte(1) < OLDEST or batch:byte(1) > NEWEST then
      totals.unknown = totals.unknown + 1
    end
    events = events + (n or 0)
    totals.bytes = totals.bytes + #(batch or '')
  end)
  return events
end

local function recount(stream, record_key)
  local totals = {bytes = 0, unknown = 0, malformed = 0}
  local stored = fields(redis.call('HGETALL', record_key))
  local record, start = {}, '-'
  if next(stored) then
    record[1] = stored.v or ''
    if stored.v == KNOWN_RECORD and stored.first and stored.last and stored.done then
      local _, unfinished = string.gsub(stored.done, '0', '')
      local first = redis.call('XRANGE', stream, stored.first, stored.first)
      record[2] = unfinished
      record[3] = #stored.done
      record[4] = tonumber(stored.left) or -1
      record[5] = count_stream(stream, '-', stored.last, totals)
      record[6] = #first
      start = '(' .. stored.last
    end
  end
  local queued = count_stream(stream, start, '+', totals)
  return {queued, totals.bytes, totals.unknown, totals.malformed, record}
end

local dead, dead_bytes = 0, 0
walk(KEYS[2], '-', '+', function(letter)
  dead = dead + (tonumber(letter.n) or 1)
  dead_bytes = dead_bytes + #(letter.h or '') + #(letter.b or '')
end)
local reply = {redis.call('HGETALL', KEYS[1]), dead, dead_bytes, redis.call('XRANGE', KEYS[3], '-', '+'),
  table_state(KEYS[2], KEYS[4], KEYS[5])}
for i = 6, #KEYS, 2 do
  reply[#reply + 1] = recount(KEYS[i], KEYS[i + 1])
end
return reply
