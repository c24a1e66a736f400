#!lua flags=allow-oom
-- Note what a source held when a worker last saw it, before Redis lost all of it.
--
-- KEYS  1 losses of the fleet
-- ARGV  1 id of this note, made once by who notes   2… further fields and values
-- Returns  1, or 0 when it is noted already
-- Cost  O(notes): 100 at most
for _, note in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  if note[2][3] == 'note' and note[2][4] == ARGV[1] then
    return 0
  end
end
redis.call('XADD', KEYS[1], 'MAXLEN', 100, '*', 'kind', 'gone', 'note', unpack(ARGV))
return 1
