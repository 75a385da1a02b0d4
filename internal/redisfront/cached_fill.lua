-- Fills in what the record said, unless it was changed or filled in since the filler was made one. May run twice.
--
-- KEYS  1 the value's hash
-- ARGV  1 the filler's name   2 version   3 value   4 kept for, milliseconds, or 0 when there is nothing to keep
--
-- Returns 1 when it is kept.
local key = KEYS[1]
if redis.call('HGET', key, 'fill') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', key, 'fill')
if ARGV[4] == '0' then
  return 0
end
redis.call('HSET', key, 'version', ARGV[2], 'value', ARGV[3])
redis.call('PEXPIRE', key, ARGV[4])
return 1
