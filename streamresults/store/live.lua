-- Fold one live batch of one partition into the view: a compare-and-set on the partition's coverage.
-- The same decisions as store/coverage.py decide_live; a property test compares them. Stands behind fold.lua.
--
-- ARGV  1 begin  2 end  3 least  4 fresh start  5 target  6 fresh generation  7 lost generation  8 log end
--       9 the generation that the entries are stamped with  10 .. as fold.lua has it
-- Returns {outcome, began, coverage}.

local APPLIED, BEHIND, AHEAD = 0, 1, 2
local begin, finish, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- 1. Coverage: continue the generation, or begin one.
local generation, start, watermark, target
local began = 0
local stored = redis.call('GET', KEYS[1])
local lost = false
if stored then
  local _
  _, generation, start, watermark, target = struct.unpack(COVERAGE, stored)
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

-- 2. Entries and marks, then coverage.
if outcome == APPLIED then fold_in(10, generation, ARGV[9], false) end
return {outcome, began, cover(generation, start, watermark, target)}
