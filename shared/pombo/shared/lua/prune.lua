#!lua flags=allow-oom
-- Forget silent workers and idle partitions, unless they have shown themselves since.
--
-- KEYS  1 workers   2 active
-- ARGV  1 number of workers, then per worker: id, description as seen; then per partition: name, score as seen
-- Returns  how many were forgotten
-- Cost  O(workers + partitions)
local forgotten = 0
local workers = tonumber(ARGV[1])
for i = 2, 2 * workers, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
for i = 2 * workers + 2, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[i]) or '-1') == tonumber(ARGV[i + 1]) then
    forgotten = forgotten + redis.call('ZREM', KEYS[2], ARGV[i])
  end
end
return forgotten
