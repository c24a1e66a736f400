#!lua flags=allow-oom
-- Replace what is stored of a source, if it is still what the caller read: compare-and-set.
--
-- May run at maxmemory: a new write key is what lets a parked backlog drain.
--
-- KEYS  1 sources   2 secrets   3 lookup   4 version
-- ARGV  1 name   2 settings as read   3 sealed keys as read ("": none)   4 new settings   5 new sealed keys ("": none)
--       6 wake channel
-- Returns  {"ok", version}
--          {"changed"}     somebody else changed or removed it: nothing was written, read again
-- Cost  O(1), and O(sources) when a key changes
--include lookup
local name = ARGV[1]
local settings = redis.call('HGET', KEYS[1], name)
local stored = redis.call('HGET', KEYS[2], name) or ''
if settings ~= ARGV[2] or stored ~= ARGV[3] then
  return {'changed'}
end
local before = stored ~= '' and cjson.decode(stored)
local after = ARGV[5] ~= '' and cjson.decode(ARGV[5])
redis.call('HSET', KEYS[1], name, ARGV[4])
if after and ARGV[5] ~= stored then
  redis.call('HSET', KEYS[2], name, ARGV[5])
  if before then
    unlink(name, before, after)
  end
  link(name, after)
end
local version = redis.call('INCR', KEYS[4])
redis.call('PUBLISH', ARGV[6], name)
return {'ok', version}
