-- Part of the scripts that write sources: the lookup from keyed hashes to names, in KEYS[3]; KEYS[2] is secrets.
-- Two sources may have the same write key. The first one keeps the lookup; when it goes, the next takes it over.
local function link(name, sealed)
  redis.call('HSETNX', KEYS[3], sealed.write_hash, name)
  redis.call('HSETNX', KEYS[3], sealed.intake_hash, name)
end

local function heir(hash)
  local stored = redis.call('HGETALL', KEYS[2])
  local first
  for i = 1, #stored, 2 do
    local ok, sealed = pcall(cjson.decode, stored[i + 1])
    if ok and type(sealed) == 'table' and sealed.write_hash == hash and (not first or stored[i] < first) then
      first = stored[i]
    end
  end
  return first
end

-- Take away the hashes of `sealed` that `kept` does not have. Call it after KEYS[2] holds what is new.
local function unlink(name, sealed, kept)
  for _, field in ipairs({'write_hash', 'intake_hash'}) do
    local hash = sealed[field]
    if hash and hash ~= kept[field] and redis.call('HGET', KEYS[3], hash) == name then
      redis.call('HDEL', KEYS[3], hash)
      local next_name = heir(hash)
      if next_name then
        redis.call('HSET', KEYS[3], hash, next_name)
      end
    end
  end
end
