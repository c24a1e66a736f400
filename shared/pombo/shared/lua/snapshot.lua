#!lua flags=no-writes
-- Read all sources at one moment. No transaction: a server at maxmemory refuses to queue commands.
--
-- KEYS  1 sources   2 version
-- Returns  {version, sources as name, settings…}
-- Cost  O(sources)
return {tonumber(redis.call('GET', KEYS[2]) or '0'), redis.call('HGETALL', KEYS[1])}
