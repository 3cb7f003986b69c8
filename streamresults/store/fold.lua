-- What the live and the back-fill script share; it stands before each of them when they are loaded.
-- The same rule as events/fold.py combine, on stored bytes; a property test compares them.
--
-- KEYS  1 coverage   2 interested   3 marked   4 .. 3+n values, one per entry   then m dead-letter marks
-- ARGV from index `at`  n, length of the value keys' prefix, prefix of interest keys, milliseconds that 'marked' lives,
--       n entries (stored values of the generation that the sender expects), then m pairs of mark and its keep-until
-- Writes those keys, deletes interests it has answered, publishes task ids to interested processes.
-- Interest keys share the partition's hash tag; they are made here because they are few and only known now.

local COVERAGE = '>Bc8i8i8i8i8'
-- Of a stored value, behind the generation's eight bytes; then where the body and the keep-until begin in it.
local HEAD = '>BBBi8i8i8i8i8i8i8'
local HEAD_AT, BODY_AT, KEEP_AT = 9, 68, 60
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

-- Returns the combined value of two of one generation, its keep-until, and the rank and offset of its best event
-- (offset -1: none).
local function combine(older, newer)
  local _, rank, flags, best, floor, first, last, appended, expires, keep = struct.unpack(HEAD, newer, HEAD_AT)
  local _, orank, oflags, obest, ofloor, ofirst, olast, oappended, oexpires, okeep = struct.unpack(HEAD, older, HEAD_AT)
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
  return string.sub(newer, 1, HEAD_AT - 1) .. head .. string.sub(body, BODY_AT), keep, rank, best
end

-- Folds the entries in; with `backwards` they are the older range, else what is stored is. They are stamped with the
-- generation `expected`, which all but the first batches of a generation are right about.
local function fold_in(at, generation, expected, backwards)
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

  local function merge(key, value, keep)
    local stored = redis.call('GET', key)
    local rank, best, _
    if stored and string.sub(stored, 1, 8) == generation then
      local older, newer = stored, value
      if backwards then older, newer = value, stored end
      value, keep, rank, best = combine(older, newer)
    else
      _, rank, _, best = struct.unpack(HEAD, value, HEAD_AT)
    end
    put(key, value, keep)
    if interested and best >= 0 and rank >= READY then tell(key) end
  end

  -- Most entries are the first of their task, and nobody waits for them through the view: one command, no copy.
  local call, unpack = redis.call, struct.unpack
  for i = 1, n do
    local key, value = KEYS[3 + i], ARGV[at + 3 + i]
    if generation ~= expected then value = generation .. string.sub(value, 9) end
    local keep = unpack('>i8', value, KEEP_AT)
    local plain = not interested and keep > now and keep < NEVER
    if not (plain and call('SET', key, value, 'NX', 'PXAT', keep)) then merge(key, value, keep) end
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
