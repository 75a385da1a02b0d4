-- Keeps for a second that the record refused a user more of a product, or forgets it. May run twice.
--
-- KEYS  1 the users just refused more of the product   2 there for a second after the user's refusal was forgotten
-- ARGV  1 user   2 the quantity he was refused, or 0: forget it
--
-- All of a product are forgotten together, a second after the first came in: so none is believed for longer. A refusal from before
-- one of the user's orders ended may be told after that: for a second none is kept.
if ARGV[2] == '0' then
  redis.call('SET', KEYS[2], '', 'PX', 1000)
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
if redis.call('GET', KEYS[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], 1000)
end
return 1
