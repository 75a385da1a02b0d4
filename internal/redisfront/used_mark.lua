-- Adds the keys of a batch to those that were marked last in an epoch. May run twice.
--
-- KEYS  1 how many batches have marked keys, and the desks   2 the keys of the last batches, oldest first
-- ARGV  1 the keys, 16 bytes each   2 how many batches are kept   3 for how long, seconds   4 this desk   5 its name for having come in
--
-- Returns 1 when the desk was not known here by this name: another may have been told that it is alone.
if redis.call('HINCRBY', KEYS[1], 'count', 1) == 1 then -- it was lost, or the epoch is over
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
local kept = redis.call('RPUSH', KEYS[2], ARGV[1])
if kept == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])
elseif kept > tonumber(ARGV[2]) then
  redis.call('LPOP', KEYS[2])
end
local mine = 'd:' .. ARGV[4]
local was = redis.call('HGET', KEYS[1], mine)
redis.call('HSET', KEYS[1], mine, redis.call('TIME')[1] .. ' ' .. ARGV[5])
if was and was:match(' (.*)') == ARGV[5] then
  return 0
end
return 1
