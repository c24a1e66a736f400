#!lua flags=allow-oom
-- Put a running job of RQ's at the end of its queue, with its checkpoint, so that others go first.
--
-- In one step, so that it is either running or waiting, whenever its process is killed. The run stores nothing more.
--
-- KEYS  1 job (RQ's hash)   2 queue   3 registry of started jobs   4 the job's executions   5 this execution
--       6 the worker's executions
-- ARGV  1 token of the run   2 meta   3 id of the job   4 id of the execution
-- Returns  "ok"           it waits; "cancel", "superseded", "gone" as `job_note`, where nothing was written
-- Cost  O(meta + log started jobs)
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then
  return 'gone'
end
local stored = redis.call('HMGET', KEYS[1], 'pombo_run', 'pombo_cancel', 'status')
if stored[1] ~= ARGV[1] or stored[3] ~= 'started' then
  return 'superseded'
elseif stored[2] then
  return 'cancel'
end
redis.call('HSET', KEYS[1], 'meta', ARGV[2], 'status', 'queued')
redis.call('HDEL', KEYS[1], 'pombo_run')
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3] .. ':' .. ARGV[4])
redis.call('ZREM', KEYS[4], ARGV[4])
redis.call('DEL', KEYS[5])
redis.call('SREM', KEYS[6], ARGV[3] .. ':' .. ARGV[4])
return 'ok'
