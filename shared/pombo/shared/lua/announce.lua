#!lua flags=allow-oom
-- Note that partitions hold events, so that some worker leases them.
--
-- KEYS  1 active   ARGV  the partitions, each as "source/partition"
-- Returns  Redis' time in whole seconds
-- Cost  O(partitions · log active)
local now = tonumber(redis.call('TIME')[1])
for i = 1, #ARGV do
  redis.call('ZADD', KEYS[1], 'GT', now, ARGV[i])
end
return now
