#!lua flags=allow-oom
-- Note why a partition, or a whole source, waits for a person, or that it no longer does.
--
-- KEYS  1 flow
-- ARGV  1 field   2 reason ("" to take it away)
-- Returns  1
-- Cost  O(1)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 1
