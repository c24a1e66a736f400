#!lua flags=allow-oom
-- Show that a worker lives, and tell it what it must know of the fleet.
--
-- KEYS  1 workers   2 active
-- ARGV  1 worker id   2 its description, JSON with its beat counter ("" to leave the fleet)
-- Returns  {now in whole seconds, {id, description, …}, {partition, score, …}}
-- Cost  O(workers + active partitions)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return { tonumber(redis.call('TIME')[1]), redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES') }
