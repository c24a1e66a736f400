#!lua flags=allow-oom
-- Put a job of RQ's whose worker gave no sign of life for too long back on its queue, with its checkpoint as it is.
--
-- The record of its run lives for so long after each sign, by Redis' clock, whatever those of the machines say.
--
-- KEYS  1 job (RQ's hash)   2 queue   3 registry of started jobs   4 record of the run   5 jobs taken and not begun
--       6 the job's runs
-- ARGV  1 id of the job   2 the run in the registry   3 the run among the job's
-- Returns  "ok"      it waits again
--          "alive"   its worker gave a sign, or somebody else took care: nothing was written
--          "over"    the job is not running: the registry was wrong, and is put right
--          "spent"   it outlived as many workers as it may: nothing was written
-- Cost  O(started jobs)
if redis.call('EXISTS', KEYS[4]) == 1 or not redis.call('ZSCORE', KEYS[3], ARGV[2]) then
  return 'alive'
end
local stored = redis.call('HMGET', KEYS[1], 'status', 'retries_left')
if stored[1] == 'started' and tonumber(stored[2] or '0') < 1 then
  return 'spent'
end
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[6], ARGV[3])
if stored[1] == 'queued' and redis.call('LREM', KEYS[5], 1, ARGV[1]) == 1 then
  redis.call('LPUSH', KEYS[2], ARGV[1])
  return 'ok'
elseif stored[1] ~= 'started' then
  return 'over'
end
redis.call('LREM', KEYS[5], 1, ARGV[1])
redis.call('HINCRBY', KEYS[1], 'retries_left', -1)
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('RPUSH', KEYS[2], ARGV[1])
return 'ok'
