#!lua flags=allow-oom
-- Register a source: its settings, its keys, their lookup and the registry's version, in one step.
--
-- KEYS  1 sources   2 secrets   3 lookup   4 version
-- ARGV  1 name   2 settings (JSON)   3 sealed keys (JSON)   4 wake channel
-- Returns  {"ok", version}  registered, now or by an earlier call with the same sealed keys
--          {"exists"}      another source has that name: nothing was written
-- Cost  O(1)
--include lookup
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[3] then
    return {'ok', tonumber(redis.call('GET', KEYS[4]))}
  end
  return {'exists'}
end
local sealed = cjson.decode(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
link(ARGV[1], sealed)
local version = redis.call('INCR', KEYS[4])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return {'ok', version}
