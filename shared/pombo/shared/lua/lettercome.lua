-- Included: dead letters that come from outside, and the ledger's counters of them; needs `lettertable`.

-- Store letters: tables of reason, header, payload, events (text of a number), marks, fingerprint and description, see
-- `lettertable`. Returns the bytes of their headers and payloads. Their types are the caller's to count.
local function letters_come(ledger, dead, rows, groups, letters)
  local events, bytes, reasons = 0, 0, {}
  for _, letter in ipairs(letters) do
    local number = tonumber(letter.events)
    local count = number ~= 1 and {'n', letter.events} or {}
    local id = redis.call('XADD', dead, '*', 'h', letter.header, 'b', letter.payload, unpack(count))
    table_add(dead, rows, groups, id, letter)
    events = events + number
    bytes = bytes + #letter.header + #letter.payload
    reasons[letter.reason] = (reasons[letter.reason] or 0) + number
  end
  redis.call('HINCRBY', ledger, 'accepted', events)
  redis.call('HINCRBY', ledger, 'dead', events)
  redis.call('HINCRBY', ledger, 'dead_bytes', bytes)
  for reason, count in pairs(reasons) do
    redis.call('HINCRBY', ledger, 'died:' .. reason, count)
    redis.call('HINCRBY', ledger, 'dead:' .. reason, count)
  end
  return bytes
end

-- The letter at ARGV's place `at`: 1 reason   2 header   3 payload   4 events   5 marks   6 fingerprint   7 description
local function letter_at(args, at)
  return {
    reason = args[at], header = args[at + 1], payload = args[at + 2], events = args[at + 3], marks = args[at + 4],
    fingerprint = args[at + 5], description = args[at + 6],
  }
end
