#!lua flags=no-writes
-- Read how the table of a source's dead letters stands, and its groups, at one moment.
--
-- KEYS  1 dead   2 table   3 groups
-- Returns  {what `tablestate` says; the groups hash as field, value…}
-- Cost  O(groups), of which there are about a thousand at most
--include tablestate
return {table_state(KEYS[1], KEYS[2], KEYS[3]), redis.call('HGETALL', KEYS[3])}
