#!lua flags=allow-oom
-- Note that counters of a ledger are below what a worker saw before: Redis came back in an older state.
--
-- KEYS  1 ledger   2 losses
-- ARGV  1 incarnation of the source   2 worker id   3 falls noted when it saw them   then per counter: name, value
-- Returns  by how much the counter that fell furthest fell; 0: none did, or another worker has noted it, or the ledger
--          is another incarnation's: nothing was written
-- Cost  O(counters)
local seen = redis.call('HMGET', KEYS[1], 'incarnation', 'falls')
if seen[1] ~= ARGV[1] or tonumber(seen[2] or '0') > tonumber(ARGV[3]) then
  return 0
end
local most, fallen = 0, {}
for i = 4, #ARGV, 2 do
  local by = tonumber(ARGV[i + 1]) - tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if by > 0 then
    most = math.max(most, by)
    fallen[#fallen + 1] = ARGV[i]
    fallen[#fallen + 1] = string.format('%.0f', by)
  end
end
if most == 0 then
  return 0
end
redis.call('XADD', KEYS[2], 'MAXLEN', 100, '*', 'kind', 'fall', 'worker', ARGV[2], unpack(fallen))
redis.call('HINCRBY', KEYS[1], 'fallen', most)
redis.call('HINCRBY', KEYS[1], 'falls', 1)
return most
