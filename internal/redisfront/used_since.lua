-- Tells what was marked in an epoch since a desk asked last, and who else there is. May run twice.
--
-- KEYS  1 how many batches have marked keys, and the desks   2 the keys of the last batches, oldest first
-- ARGV  1 how many of the batches the desk knows   2 this desk   3 1 when it comes in, 0 when it only asks
--
-- Returns  when the desk came in, or '' if it has not   how many others there are   how many batches, -1 when that is lost
--       then the keys of those that the desk does not know, unless it comes in. Whoever is not given as many as are missing, or knows of
--       more than there are, has to begin anew.
--
-- A desk that was not heard of for a minute is forgotten. Should it be there after all, it finds out when it marks keys.
local time, mine = redis.call('TIME'), 'd:' .. ARGV[2]
local all, count, others, came = redis.call('HGETALL', KEYS[1]), -1, 0, ''
for i = 1, #all, 2 do
  if all[i] == 'count' then
    count = tonumber(all[i + 1])
  else
    local at, known = all[i + 1]:match('^(%d+) (.*)$')
    if all[i] == mine then
      came = known or ''
    elseif at and math.abs(time[1] - at) < 60 then
      others = others + 1
    else
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
if count < 0 then
  return {'', others, count}
end
if came == '' and ARGV[3] == '1' then
  came = time[1] .. '.' .. time[2]
end
if came ~= '' then
  redis.call('HSET', KEYS[1], mine, time[1] .. ' ' .. came)
end
local missing = count - ARGV[1]
if missing < 1 or ARGV[3] == '1' then
  return {came, others, count}
end
return {came, others, count, unpack(redis.call('LRANGE', KEYS[2], -missing, -1))}
