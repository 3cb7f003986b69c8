-- Replaces a descriptor if it is still what was read: a compare-and-set of one key.
-- KEYS: the descriptor. ARGV: what it was, empty for none; what it is to be. Returns 1 if it was written.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
