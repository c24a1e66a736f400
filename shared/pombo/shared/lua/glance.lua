#!lua flags=no-writes
-- Read a source's ledger and flow at one moment: one answer instead of two, as consoles read those of a thousand.
--
-- KEYS  1 ledger   2 flow
-- Returns  {ledger as field, value…; flow as field, value…}
-- Cost  O(fields)
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
