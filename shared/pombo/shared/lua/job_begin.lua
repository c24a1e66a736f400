#!lua flags=allow-oom
-- Begin a run of a job of RQ's: from now on no other run of it stores anything.
--
-- KEYS  1 job (RQ's hash)
-- ARGV  1 token of the run
-- Returns  {meta, mark}   the checkpoint as it is stored now, and "1" if somebody wants the job to end, else ""
--          {}             RQ stores no such job: nothing was written
-- Cost  O(meta)
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then
  return {}
end
redis.call('HSET', KEYS[1], 'pombo_run', ARGV[1])
local stored = redis.call('HMGET', KEYS[1], 'meta', 'pombo_cancel')
return {stored[1] or '', stored[2] or ''}
