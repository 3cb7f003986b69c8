-- Fold one back-fill batch of one partition under the view: a compare-and-set on (generation, start).
-- The same decision as store/coverage.py decide_backfill; a property test compares them. Stands behind fold.lua.
--
-- ARGV  1 begin  2 end  3 generation   4 .. as fold.lua has it
-- Returns {applied, coverage or false}.

local stored = redis.call('GET', KEYS[1])
if not stored then return {0, false} end
local _, generation, start, watermark, target = struct.unpack(COVERAGE, stored)
if generation ~= ARGV[3] or start ~= tonumber(ARGV[2]) or start <= target then return {0, stored} end
fold_in(4, generation, ARGV[3], true)
return {1, cover(generation, tonumber(ARGV[1]), watermark, target)}
