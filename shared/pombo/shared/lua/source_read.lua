#!lua flags=no-writes
-- Read what is stored of one source at one moment. No transaction: a server at maxmemory refuses to queue commands.
--
-- KEYS  1 sources   2 secrets
-- ARGV  1 name
-- Returns  {settings or nil, sealed keys or ""}
-- Cost  O(1)
return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HGET', KEYS[2], ARGV[1]) or ''}
