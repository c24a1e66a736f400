#!lua flags=allow-oom
-- Store the checkpoint of a job of RQ's, if the run that asks is its last one.
--
-- May run at maxmemory: a job that makes room has to be able to say how far it is.
--
-- KEYS  1 job (RQ's hash)
-- ARGV  1 token of the run   2 meta
-- Returns  "ok"           it is stored
--          "cancel"       it is stored, and somebody wants the job to end
--          "superseded"   another run has begun: nothing was written
--          "gone"         RQ stores no such job any more: nothing was written
-- Cost  O(meta)
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then
  return 'gone'
end
local stored = redis.call('HMGET', KEYS[1], 'pombo_run', 'pombo_cancel')
if stored[1] ~= ARGV[1] then
  return 'superseded'
end
redis.call('HSET', KEYS[1], 'meta', ARGV[2])
return stored[2] and 'cancel' or 'ok'
