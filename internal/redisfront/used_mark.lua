-- Adds the keys of a batch to those that were marked last in an epoch. May run twice.
--
-- KEYS  1 how many batches have marked keys, and the desks   2 the keys of the last batches, oldest first
-- ARGV  1 the keys, 16 bytes each   2 how many batches are kept   3 for how long, seconds   4 this desk
--
-- Returns when the desk came in: should that be later than it knows of, another may have been told that it is alone.
if redis.call('HINCRBY', KEYS[1], 'count', 1) == 1 then -- it was lost, or the epoch is over
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
local kept = redis.call('RPUSH', KEYS[2], ARGV[1])
if kept == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])
elseif kept > tonumber(ARGV[2]) then
  redis.call('LPOP', KEYS[2])
end
local mine, time = 'd:' .. ARGV[4], redis.call('TIME')
local came = (redis.call('HGET', KEYS[1], mine) or ''):match(' (.*)') or time[1] .. '.' .. time[2]
redis.call('HSET', KEYS[1], mine, time[1] .. ' ' .. came)
return came
