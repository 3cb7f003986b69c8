-- Read values and coverage of one partition in one atomic step; on request leave word who waits for them.
--
-- KEYS  1 coverage   2 interested   3 marked   4 .. 3+n values
-- ARGV  1 n   2 channel to be told on ('' leaves no interest)   3 milliseconds that an interest lives
--       4 length of the value keys' prefix   5 prefix of interest keys   6 prefix of dead-letter marks
-- Interests and marks have the values' hash tag; they are named here, as most looks need neither: half of the keys.
-- Writes only interest keys and 'interested', and only for tasks that are not ready.
-- Returns {TIME in ms, coverage or false, {value or false, ...}, {mark or false, ...} or {}}.

local n = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local coverage = redis.call('GET', KEYS[1])
local values = {}
local marks = {}

local function named(prefix, i) return prefix .. string.sub(KEYS[3 + i], tonumber(ARGV[4]) + 1) end

if n > 0 then
  values = redis.call('MGET', unpack(KEYS, 4, 3 + n))
  if redis.call('EXISTS', KEYS[3]) == 1 then
    local keys = {}
    for i = 1, n do keys[i] = named(ARGV[6], i) end
    marks = redis.call('MGET', unpack(keys))
  end
end

local function ready(value)
  if not value or not coverage or string.sub(value, 1, 8) ~= string.sub(coverage, 2, 9) then return false end
  local _, rank, _, best, _, _, _, _, expires = struct.unpack('>BBBi8i8i8i8i8i8', value, 9)
  return best >= 0 and rank >= 3 and expires > now
end

-- Whoever wants to be told for longer keeps it so: one key serves several processes.
local function prolong(key)
  if redis.call('PTTL', key) < tonumber(ARGV[3]) then redis.call('PEXPIRE', key, ARGV[3]) end
end

if ARGV[2] ~= '' then
  local left = false
  for i = 1, n do
    if not ready(values[i]) then
      local interest = named(ARGV[5], i)
      -- A server that is out of memory refuses this write; whoever waits still reads again after its interval.
      if type(redis.pcall('SADD', interest, ARGV[2])) == 'number' then
        prolong(interest)
        left = true
      end
    end
  end
  if left then
    redis.call('SET', KEYS[2], 1, 'KEEPTTL')
    prolong(KEYS[2])
  end
end
return {now, coverage, values, marks}
