-- Says that a value is about to change: until it was told what it has become, or for a minute, it is read in the record. May run twice.
--
-- KEYS  1 the value's hash
-- ARGV  1 this process   2 its count of batches
--
-- A filler who is under way is turned away: what he has read may be old.
local key = KEYS[1]
local time = redis.call('TIME')
redis.call('HDEL', key, 'fill')
redis.call('HSET', key, 'd:' .. ARGV[1], ARGV[2] .. ' ' .. time[1], 'marked', time[1])
if redis.call('PTTL', key) < 120000 then
  redis.call('PEXPIRE', key, 120000)
end
return 0
