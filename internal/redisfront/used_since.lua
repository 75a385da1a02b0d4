-- Tells what was marked in an epoch since a desk asked last, and who else there is. May run twice.
--
-- KEYS  1 how many batches have marked keys, and the desks   2 the keys of the last batches, oldest first
-- ARGV  1 how many of the batches the desk knows   2 this desk   3 its name for coming in, or '' when it only asks
--
-- Returns  how many other desks there are   how many batches, -1 when that is lost
--       then the keys of those that the desk does not know, unless it comes in. Whoever is not given as many as are missing, or knows of
--       more than there are, has to begin anew.
--
-- A desk that was not heard of for a minute is forgotten. Should it be there after all, it finds out when it marks keys.
local now, mine = redis.call('TIME')[1], 'd:' .. ARGV[2]
local all, count, others, name = redis.call('HGETALL', KEYS[1]), -1, 0, ARGV[3]
for i = 1, #all, 2 do
  if all[i] == 'count' then
    count = tonumber(all[i + 1])
  else
    local at, known = all[i + 1]:match('^(%d+) (.*)$')
    if all[i] == mine then
      name = name ~= '' and name or known or ''
    elseif at and math.abs(now - at) < 60 then
      others = others + 1
    else
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
if count < 0 then
  return {others, count}
end
if name ~= '' then
  redis.call('HSET', KEYS[1], mine, now .. ' ' .. name)
end
local missing = count - ARGV[1]
if missing < 1 or ARGV[3] ~= '' then
  return {others, count}
end
return {others, count, unpack(redis.call('LRANGE', KEYS[2], -missing, -1))}
