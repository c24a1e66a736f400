#!lua flags=no-writes
-- Read the first entry of each of a source's streams, without what is in it, and who holds the partition.
--
-- KEYS  every stream of the source, then the leases in the same order
-- Returns  {id of the first entry, what the lease says…}; '' for what is not there
-- Cost  O(partitions)
local found, partitions = {}, #KEYS / 2
for i = 1, partitions do
  local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
  found[#found + 1] = first and first[1] or ''
  found[#found + 1] = redis.call('GET', KEYS[partitions + i]) or ''
end
return found
