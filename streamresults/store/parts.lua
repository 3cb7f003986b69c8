-- One operation on one set of parts; what it promises stands in parts.py.
--
-- KEYS  1 the set: a hash of about, size, added (how many), come (how many), token, until (ms), taken,
--       settled, born (which primary it was begun on, '' for not known), p:<part> = '1' (final) or '0', and the part's bytes;  x:<member> = its number among those that were added
-- ARGV  1 operation   2 milliseconds that the set is kept from now on, 0 for ever   3.. see each operation
-- Returns {status, come, expected or -1, milliseconds that the claim is held, 1 if it was taken over}, or 1 or 0.

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function get(field) return redis.call('HGET', key, field) end

local function keep()
  if tonumber(ARGV[2]) > 0 then redis.call('PEXPIRE', key, ARGV[2]) else redis.call('PERSIST', key) end
end

local function expected()
  local size = get('size')
  return size and tonumber(size) + tonumber(get('added') or 0)
end

local function held_ms() return math.max(0, tonumber(get('until') or 0) - now) end

local function hold(token, lease) redis.call('HSET', key, 'token', token, 'until', now + tonumber(lease)) end

-- Take the claim if that can be: ARGV 3 token   4 lease in ms
local function claimed()
  local come, all = tonumber(get('come') or 0), expected()
  if get('settled') then return {3, come, all or -1, 0, 0} end
  if not all then return {get('about') and 0 or 4, come, -1, 0, 0} end
  if come < all then return {0, come, all, 0, 0} end
  local before, held = get('token'), held_ms()
  if held > 0 and before ~= ARGV[3] then return {2, come, all, held, 0} end
  -- Kept, as a call whose reply was lost is repeated: its holder must still be told.
  if before and before ~= ARGV[3] then redis.call('HSET', key, 'taken', 1) end
  hold(ARGV[3], ARGV[4])
  return {1, come, all, 0, get('taken') and 1 or 0}
end

-- Who takes a claim over must find what its holder has found: nothing comes behind a claim on a complete set.
local function closed()
  if get('settled') then return true end
  local all = expected()
  return get('token') and all and tonumber(get('come') or 0) >= all
end

-- Which history of writes this is: another one since a replica was promoted, or since a restart. '' for not known.
local function primary()
  local said = redis.pcall('INFO', 'replication')
  return type(said) == 'string' and string.match(said, 'master_replid:(%x+)') or ''
end

local operations = {}

-- 3 about   4 size, '' for not known   5 '1' to begin again what was settled
function operations.begin()
  local settled = get('settled') and 1 or 0
  if settled == 1 then
    if ARGV[5] ~= '1' then return 1 end
    redis.call('DEL', key)
  end
  redis.call('HSET', key, 'about', ARGV[3])
  -- What is begun anew is never suspected: its caller may know of an earlier run's parts.
  redis.call('HSETNX', key, 'born', settled == 1 and '' or primary())
  if ARGV[4] ~= '' then redis.call('HSET', key, 'size', ARGV[4]) end
  keep()
  return settled
end

-- 3 size
function operations.resize()
  if get('about') and not get('settled') then redis.call('HSETNX', key, 'size', ARGV[3]) end
  return 1
end

-- 3 member
function operations.add()
  if closed() then return 0 end
  if redis.call('HSETNX', key, 'x:' .. ARGV[3], get('added') or 0) == 1 then
    redis.call('HINCRBY', key, 'added', 1)
  end
  keep()
  return 1
end

-- 3 token   4 lease   5 part   6 '1' if it is final, else '0'   7 its bytes
function operations.put()
  if not closed() then
    local field = 'p:' .. ARGV[5]
    local there = get(field)
    if not there then
      redis.call('HSET', key, field, ARGV[6] .. ARGV[7])
      redis.call('HINCRBY', key, 'come', 1)
    elseif ARGV[6] == '1' and string.sub(there, 1, 1) == '0' then
      redis.call('HSET', key, field, ARGV[6] .. ARGV[7])
    end
    keep()
  end
  return claimed()
end

-- 3 token   4 lease
operations.claim = claimed

-- 3 token   4 lease
function operations.prolong()
  if get('settled') then return 0 end
  local holder = get('token')
  if holder and holder ~= ARGV[3] then return 0 end
  hold(ARGV[3], ARGV[4])
  local left = redis.call('PTTL', key)
  -- A set that was lost is there again, with nothing but its claim: that one must not be kept for ever.
  if left >= 0 or not get('about') then redis.call('PEXPIRE', key, math.max(left, 2 * ARGV[4])) end
  return 1
end

-- 3 token
function operations.settle()
  local holder = get('token')
  if get('settled') then return 1 end
  if holder and holder ~= ARGV[3] then return 0 end
  redis.call('DEL', key)
  redis.call('HSET', key, 'settled', 1)
  keep()
  return 1
end

function operations.suspect()
  local born = get('born')
  if not born or born == '' or get('settled') then return '' end
  local now = primary()
  return now ~= born and now or ''
end

-- 3 primary
function operations.trust()
  if (get('born') or '') ~= '' and not get('settled') then redis.call('HSET', key, 'born', ARGV[3]) end
  return 1
end

return operations[ARGV[1]]()
