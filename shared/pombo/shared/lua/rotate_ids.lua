#!lua flags=allow-oom
-- Replace the table of generations of the idempotency store, unless another worker did so first.
--
-- KEYS  1 ids   2 flow
-- ARGV  1 version expected ("" for none)   2 new version   3 new table, JSON   4 "1" if a new generation starts
--       5 seconds for which ids are remembered for sure, if generations ended early for the limit; else ""
-- Returns  {version, table, count} now in force
-- Cost  O(1)
if (redis.call('HGET', KEYS[1], 'version') or '') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'version', ARGV[2], 'table', ARGV[3])
  if ARGV[4] == '1' then
    redis.call('HSET', KEYS[1], 'count', 0)
  end
  if (ARGV[5] or '') ~= '' then
    local now = redis.call('TIME')[1] .. '000'
    redis.call('HSET', KEYS[2], 'ids_cut_at', now, 'ids_cut_to_s', ARGV[5])
  end
end
return redis.call('HMGET', KEYS[1], 'version', 'table', 'count')
