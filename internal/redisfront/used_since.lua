-- Tells what was marked in an epoch since a process asked last.
--
-- KEYS  1 how many batches have marked keys   2 the keys of the last ones, oldest first
-- ARGV  1 how many of the batches the process knows
--
-- Returns  how many batches there are, -1 when that is lost, then the keys of those that the process does not know. Whoever is not given as
--       many as are missing, or knows of more than there are, has to begin anew.
local count = tonumber(redis.call('GET', KEYS[1]) or '-1')
local missing = count - ARGV[1]
if missing < 1 then
  return {count}
end
return {count, unpack(redis.call('LRANGE', KEYS[2], -missing, -1))}
