-- What the live and the back-fill script share; it stands before each of them when they are loaded.
-- The same rule as events/fold.py combine, on stored bytes; a property test compares them.
--
-- KEYS  1 coverage   2 interested   3 marked   4 .. 3+n values, one per entry   then m dead-letter marks
-- ARGV from index `at`  n, length of the value keys' prefix, prefix of interest keys, milliseconds that 'marked' lives,
--       n entries (a stored value without its generation), then m pairs of mark and its keep-until
-- Writes those keys, deletes interests it has answered, publishes task ids to interested processes.
-- Interest keys share the partition's hash tag; they are made here because they are few and only known now.

local COVERAGE = '>Bc8i8i8i8i8'
local HEAD = '>BBBi8i8i8i8i8i8i8'
local HEAD_SIZE = 59
local KEEP_AT = 52
local NEVER = 9007199254740991
local READY, SUCCESS = 3, 4

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function put(key, value, keep)
  if keep >= NEVER then
    redis.call('SET', key, value)
  elseif keep > now then
    redis.call('SET', key, value, 'PXAT', string.format('%.0f', keep))
  else
    redis.call('DEL', key)
  end
end

-- Returns the combined entry, its keep-until, and the rank and offset of its best event (offset -1: none).
local function combine(older, newer)
  local _, rank, flags, best, floor, first, last, appended, expires, keep = struct.unpack(HEAD, newer)
  local _, orank, oflags, obest, ofloor, ofirst, olast, oappended, oexpires, okeep = struct.unpack(HEAD, older)
  local body = newer
  if floor < 0 then
    floor = ofloor
    if obest >= 0 and (best < 0 or orank > rank or (orank == SUCCESS and rank == SUCCESS)) then
      rank, flags, best, appended, expires, body = orank, oflags, obest, oappended, oexpires, older
    end
  end
  keep = math.max(keep, okeep)
  local head = struct.pack(HEAD, 1, rank, flags, best, floor, math.min(first, ofirst), math.max(last, olast),
    appended, expires, keep)
  return head .. string.sub(body, HEAD_SIZE + 1), keep, rank, best
end

-- Folds the entries in; with `backwards` they are the older range, else what is stored is.
local function fold_in(at, generation, backwards)
  local n, prefix_length, interest_prefix = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  -- Whoever left an interest in a task that is ready now is told, and nobody else.
  local interested = redis.call('EXISTS', KEYS[2]) == 1

  local function tell(key)
    local id = string.sub(key, prefix_length + 1)
    local interest = interest_prefix .. id
    for _, channel in ipairs(redis.call('SMEMBERS', interest)) do
      redis.call('PUBLISH', channel, id)
    end
    redis.call('DEL', interest)
  end

  for i = 1, n do
    local key, entry = KEYS[3 + i], ARGV[at + 3 + i]
    local stored = redis.call('GET', key)
    local keep, rank, best
    if not stored and not interested then
      keep = struct.unpack('>i8', entry, KEEP_AT)
    elseif stored and string.sub(stored, 1, 8) == generation then
      stored = string.sub(stored, 9)
      if backwards then
        entry, keep, rank, best = combine(entry, stored)
      else
        entry, keep, rank, best = combine(stored, entry)
      end
    else
      local _
      _, rank, _, best, _, _, _, _, _, keep = struct.unpack(HEAD, entry)
    end
    put(key, generation .. entry, keep)
    if interested and best >= 0 and rank >= READY then tell(key) end
  end

  -- Dead-letter marks stand beside the values and never change them; a waiter is told of them too.
  local marks = #KEYS - 3 - n
  for i = 1, marks do
    local key, place = KEYS[3 + n + i], at + 3 + n + 2 * i
    -- Of several marks the latest record's stays.
    if not backwards or string.sub(redis.call('GET', key) or '', 1, 8) ~= generation then
      put(key, generation .. ARGV[place - 1], tonumber(ARGV[place]))
    end
    if interested then tell(key) end
  end
  if marks > 0 then redis.call('SET', KEYS[3], 1, 'PX', ARGV[at + 3]) end
end

-- Coverage is written last: a script that runs out of memory half way has moved nothing.
local function cover(generation, start, watermark, target)
  local coverage = struct.pack(COVERAGE, 1, generation, start, watermark, target, now)
  redis.call('SET', KEYS[1], coverage)
  return coverage
end
