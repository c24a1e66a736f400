#!lua flags=allow-oom
-- Clear noted losses that an operator has read, unless more were noted since.
--
-- KEYS  1 losses   2 ledger, where they are a source's
-- ARGV  1 id of the newest note that was read
-- Returns  1, or 0 when there is a newer one: nothing was cleared
-- Cost  O(1)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if newest and newest[1] ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[2] then
  redis.call('HDEL', KEYS[2], 'forgotten', 'fallen')
end
return 1
