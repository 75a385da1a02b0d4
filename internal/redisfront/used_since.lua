-- Tells what was marked in an epoch since a desk asked last, and who else there is. May run twice.
--
-- KEYS  1 how many batches have marked keys, and the desks   2 the keys of the last batches, oldest first
-- ARGV  1 how many of the batches the desk knows   2 this desk   3 whether it comes in
--
-- Returns  1 when the desk came in   how many others there are   how many batches, -1 when that is lost
--       then the keys of those that the desk does not know. Whoever is not given as many as are missing, or knows of more than there are,
--       has to begin anew.
--
-- A desk that was not heard of for a minute is forgotten. Should it be there after all, it finds out when it marks keys.
local now, mine = redis.call('TIME')[1], 'd:' .. ARGV[2]
local all, count, others, known = redis.call('HGETALL', KEYS[1]), -1, 0, ARGV[3] == '1'
for i = 1, #all, 2 do
  if all[i] == 'count' then
    count = tonumber(all[i + 1])
  elseif all[i] == mine then
    known = true
  elseif math.abs(now - all[i + 1]) < 60 then
    others = others + 1
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
if count < 0 then
  return {0, others, count}
end
local new, missing = 0, count - ARGV[1]
if known then
  new = redis.call('HSET', KEYS[1], mine, now)
end
if missing < 1 then
  return {new, others, count}
end
return {new, others, count, unpack(redis.call('LRANGE', KEYS[2], -missing, -1))}
