-- Fold one live batch of one partition into the view: a compare-and-set on the partition's coverage.
-- The same decisions as store/coverage.py decide_live and events/fold.py combine; a property test compares them.
--
-- KEYS  1 coverage   2 interested   3 marked   4 .. 3+n values, one per entry   then m dead-letter marks
-- ARGV  1 begin  2 end  3 least  4 fresh start  5 target  6 fresh generation  7 lost generation  8 log end
--       9 n  10 length of the value keys' prefix  11 prefix of interest keys  12 milliseconds that 'marked' lives
--       13 .. 12+n entries (a stored value without its generation)   then m pairs of mark and its keep-until
-- Writes those keys, deletes interests it has answered, publishes task ids to interested processes.
-- Interest keys share the partition's hash tag; they are made here because they are few and only known now.
-- Returns {outcome, began, coverage}.

local HEAD = '>BBBi8i8i8i8i8i8i8'
local HEAD_SIZE = 59
local NEVER = 9007199254740991
local READY, SUCCESS = 3, 4
local APPLIED, BEHIND, AHEAD = 0, 1, 2

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local begin, finish, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- 1. Coverage: continue the generation, or begin one.
local generation, start, watermark, target
local began = 0
local stored = redis.call('GET', KEYS[1])
local lost = false
if stored then
  local _
  _, generation, start, watermark, target = struct.unpack('>Bc8i8i8i8', stored)
  lost = ARGV[7] ~= '' and ARGV[7] == generation and watermark > tonumber(ARGV[8])
end
if not stored or watermark < least or lost then
  began = 1
  generation, target = ARGV[6], tonumber(ARGV[5])
  start = tonumber(lost and ARGV[8] or ARGV[4])
  watermark = start
end
local outcome = BEHIND
if watermark < begin then
  outcome = AHEAD
elseif watermark == begin then
  outcome, watermark = APPLIED, finish
end

-- 2. Entries: the fold's combine on stored bytes, the view being the older range.
local n = tonumber(ARGV[9])

local function put(key, value, keep)
  if keep >= NEVER then
    redis.call('SET', key, value)
  elseif keep > now then
    redis.call('SET', key, value, 'PXAT', string.format('%.0f', keep))
  else
    redis.call('DEL', key)
  end
end

-- Returns the combined value, its keep-until, and the rank and offset of its best event (offset -1: none).
local function combine(older, entry)
  local _, rank, flags, best, floor, first, last, appended, expires, keep = struct.unpack(HEAD, entry)
  local _, orank, oflags, obest, ofloor, ofirst, olast, oappended, oexpires, okeep = struct.unpack(HEAD, older, 9)
  local body
  if floor >= 0 then
    body = string.sub(entry, HEAD_SIZE + 1)
  else
    floor = ofloor
    local stays = obest >= 0 and (best < 0 or orank > rank or (orank == SUCCESS and rank == SUCCESS))
    if stays then
      rank, flags, best, appended, expires = orank, oflags, obest, oappended, oexpires
      body = string.sub(older, HEAD_SIZE + 9)
    else
      body = string.sub(entry, HEAD_SIZE + 1)
    end
  end
  keep = math.max(keep, okeep)
  local head = struct.pack(HEAD, 1, rank, flags, best, floor, math.min(first, ofirst), math.max(last, olast),
    appended, expires, keep)
  return generation .. head .. body, keep, rank, best
end

-- 3. Whoever left an interest in a task that is ready now is told, and nobody else.
local interested = redis.call('EXISTS', KEYS[2]) == 1
local prefix_length = tonumber(ARGV[10])

local function tell(key)
  local id = string.sub(key, prefix_length + 1)
  local interest = ARGV[11] .. id
  for _, channel in ipairs(redis.call('SMEMBERS', interest)) do
    redis.call('PUBLISH', channel, id)
  end
  redis.call('DEL', interest)
end

if outcome == APPLIED then
  for i = 1, n do
    local key, entry = KEYS[3 + i], ARGV[12 + i]
    local older = redis.call('GET', key)
    local value, keep, rank, best
    if older and string.sub(older, 1, 8) == generation then
      value, keep, rank, best = combine(older, entry)
    else
      local _
      _, rank, _, best, _, _, _, _, _, keep = struct.unpack(HEAD, entry)
      value = generation .. entry
    end
    put(key, value, keep)
    if interested and best >= 0 and rank >= READY then tell(key) end
  end
  -- 4. Dead-letter marks stand beside the values and never change them; a waiter is told of them too.
  local marks = #KEYS - 3 - n
  for i = 1, marks do
    local key, at = KEYS[3 + n + i], 12 + n + 2 * i
    put(key, generation .. ARGV[at - 1], tonumber(ARGV[at]))
    if interested then tell(key) end
  end
  if marks > 0 then
    redis.call('SET', KEYS[3], 1, 'PX', ARGV[12])
  end
end

-- 5. Coverage last: a script that runs out of memory half way has moved nothing.
local coverage = struct.pack('>Bc8i8i8i8i8', 1, generation, start, watermark, target, now)
redis.call('SET', KEYS[1], coverage)
return {outcome, began, coverage}
