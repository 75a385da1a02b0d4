-- Gives one back to a quota that was taken in vain, because another quota of the same request is used up. May not run twice: then two are
-- given back.
--
-- KEYS  1 when the quota is whole again, microseconds since 1970
-- ARGV  1 microseconds in which one grows back
local taken = redis.call('GET', KEYS[1])
if taken then
  redis.call('SET', KEYS[1], string.format('%.0f', taken - ARGV[1]), 'KEEPTTL')
end
return 0
