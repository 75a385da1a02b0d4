-- Says what a value has become by a commit. May run twice, late, and in any order: the version decides.
--
-- KEYS  1 the value's hash
-- ARGV  1 this process   2 its count of batches when it was committed   3 version   4 value   5 kept for, milliseconds
local key = KEYS[1]
local had = redis.call('HMGET', key, 'version', 'd:' .. ARGV[1], 'marked')
if not had[1] or tonumber(ARGV[3]) > tonumber(had[1]) then
  redis.call('HDEL', key, 'fill')
  redis.call('HSET', key, 'version', ARGV[3], 'value', ARGV[4])
end
if had[2] and tonumber(had[2]) <= tonumber(ARGV[2]) then
  redis.call('HDEL', key, 'd:' .. ARGV[1])
  if redis.call('HLEN', key) == 3 then -- version, value and this: no other process is about to change it
    redis.call('HDEL', key, 'marked')
  end
end
redis.call('PEXPIRE', key, ARGV[5])
return 0
