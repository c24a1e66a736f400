#!lua flags=allow-oom
-- Take a source out of the registry, after `source_empty` took its data.
--
-- KEYS  1 sources   2 secrets   3 lookup   4 version
-- ARGV  1 name   2 wake channel
-- Returns  1, or 0 when no source has that name
-- Cost  O(sources)
--include lookup
local name = ARGV[1]
if redis.call('HEXISTS', KEYS[1], name) == 0 then
  return 0
end
local stored = redis.call('HGET', KEYS[2], name)
local ok, sealed = pcall(cjson.decode, stored or '')
redis.call('HDEL', KEYS[1], name)
redis.call('HDEL', KEYS[2], name)
if ok and type(sealed) == 'table' then
  unlink(name, sealed, {})
end
redis.call('INCR', KEYS[4])
redis.call('PUBLISH', ARGV[2], name)
return 1
