#!lua flags=allow-oom
-- Have a job of RQ's end: take it off its queue, or mark it, so that whoever runs it, or takes it up, ends it.
--
-- KEYS  1 job (RQ's hash)   2 queue   3 registry of scheduled jobs   4 registry of cancelled jobs
-- ARGV  1 id of the job   2 the moment, as RQ writes it   3 the same in seconds   4 seconds for which it is kept
-- Returns  "off"       it was not running, and will not
--          "marked"    somebody runs it, or has just taken it
--          "ended"     it is over: nothing was written
--          "gone"      RQ stores no such job
-- Cost  O(jobs that wait)
local status = redis.call('HGET', KEYS[1], 'status')
if not status then
  return 'gone'
elseif status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled' then
  return 'ended'
end
local waited = redis.call('LREM', KEYS[2], 0, ARGV[1]) + redis.call('ZREM', KEYS[3], ARGV[1])
if waited == 0 then
  redis.call('HSET', KEYS[1], 'pombo_cancel', '1')
  return 'marked'
end
redis.call('HSET', KEYS[1], 'status', 'canceled', 'ended_at', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[3] + ARGV[4], ARGV[1])
return 'off'
