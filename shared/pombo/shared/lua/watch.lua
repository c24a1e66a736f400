#!lua
-- Ask the fleet to tell a source's events for a while; workers learn of it by their next beat.
--
-- KEYS  1 watched   ARGV  1 source   2 seconds
-- Returns  Redis' time in seconds until which they are told: the later of this call's and what was asked before
-- At most 16 sources are watched: those whose watch ends last.
-- Cost  O(log watched). Refused by the server at maxmemory: then there is nothing to look at.
local MOST = 16
local ends = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], 'GT', ends, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - MOST)
-- A clock that went back must not have them watch for ever.
redis.call('EXPIRE', KEYS[1], 86400)
return tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
