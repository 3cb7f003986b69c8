-- Write one batch of one partition.
-- KEYS  1 offset   2 .. values    ARGV  1 offset   2 milliseconds that values live   3 .. values
for i = 2, #KEYS do
  redis.call('GET', KEYS[i])
  redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ARGV[2])
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
