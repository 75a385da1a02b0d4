-- Keeps for a second that the record refused a user more of a product, or forgets it. May run twice.
--
-- KEYS  1 the users just refused more of the product
-- ARGV  1 user   2 the quantity he was refused, or 0: forget it
--
-- All of a product are forgotten together, a second after the first came in: so none is believed for longer.
if ARGV[2] == '0' then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], 1000)
end
return 1
