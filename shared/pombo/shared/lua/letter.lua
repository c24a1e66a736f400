-- Included: what a stored dead letter says of itself.
local function letter_events(entry)
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'n' then
      return tonumber(entry[2][field + 1])
    end
  end
  return 1
end

-- Bytes of its header and payload.
local function letter_bytes(entry)
  local bytes = 0
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'h' or entry[2][field] == 'b' then
      bytes = bytes + #entry[2][field + 1]
    end
  end
  return bytes
end

-- The reason in its header; 'unreadable' when there is none.
local function letter_reason(entry)
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'h' then
      local ok, header = pcall(cjson.decode, entry[2][field + 1])
      if ok and type(header) == 'table' and type(header.reason) == 'string' then
        return header.reason
      end
    end
  end
  return 'unreadable'
end
