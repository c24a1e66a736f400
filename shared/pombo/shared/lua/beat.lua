#!lua flags=allow-oom
-- Show that a worker lives, tell it what it must know of the fleet, and see whether Redis still is what it was.
--
-- KEYS  1 workers   2 active   3 epoch   4 losses of the fleet   5 watched
-- ARGV  1 worker id   2 its description, JSON with its beat counter ("" to leave the fleet: no more ARGV)
--       its `at` becomes the second in which that counter moved
--       3 that counter   4 the counter of its last beat that was answered   5 the epoch then ("" before the first)
--       6 "1" if nobody but a loss can have taken its description away since
-- Returns  {now in whole seconds, {id, description, …}, {partition, score, …}, epoch, loss,
--           {source, until, …}}   the last are the sources that somebody watches, and until when in Redis' seconds
--          epoch  another one after Redis was emptied
--          loss   "emptied", "older" (a state from before that beat came back), or "": noted in losses
-- Cost  O(workers + active partitions)
local time = redis.call('TIME')
local epoch, loss = redis.call('GET', KEYS[3]) or '', ''
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  local stored = redis.call('HGET', KEYS[1], ARGV[1])
  local beat = tonumber(stored and string.match(stored, '"beat":(%d+)') or '-1')
  -- An unanswered beat that came through has noted the loss already: its counter is above that of the answered one.
  if ARGV[5] ~= '' and beat < tonumber(ARGV[4]) then
    if epoch ~= ARGV[5] then
      loss = 'emptied'
    elseif stored or ARGV[6] == '1' then
      loss = 'older'
    end
  end
  if loss ~= '' then
    redis.call('XADD', KEYS[4], 'MAXLEN', 100, '*', 'kind', loss, 'worker', ARGV[1])
  end
  if epoch == '' then
    epoch = string.format('%s.%06d', time[1], time[2])
    redis.call('SET', KEYS[3], epoch)
  end
  -- Not by one that comes late, behind its successor.
  if beat <= tonumber(ARGV[3]) then
    local at = beat == tonumber(ARGV[3]) and string.match(stored, '"at":(%d+)') or time[1]
    redis.call('HSET', KEYS[1], ARGV[1], (string.gsub(ARGV[2], '"at":%d+', '"at":' .. at, 1)))
  end
end
local active = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
local watched = redis.call('ZRANGEBYSCORE', KEYS[5], time[1], '+inf', 'WITHSCORES')
return { tonumber(time[1]), redis.call('HGETALL', KEYS[1]), active, epoch, loss, watched }
