#!lua flags=allow-oom
-- Change leases by compare-and-set: acquire, take over or hand back.
--
-- KEYS  the leases
-- ARGV  per lease: 1 the value expected ("" for none)   2 the new value ("" to hand back)
-- Returns  per lease the value now in force ("" for none)
-- Cost  O(leases)
local values = {}
for number, key in ipairs(KEYS) do
  local expected, new = ARGV[2 * number - 1], ARGV[2 * number]
  local current = redis.call('GET', key) or ''
  if current == expected and current ~= new then
    if new == '' then
      redis.call('DEL', key)
    else
      redis.call('SET', key, new)
    end
    current = new
  end
  values[number] = current
end
return values
