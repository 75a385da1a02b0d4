-- Publishes events that are in the log, in its order, those that were not published yet. May run twice.
--
-- KEYS  1 position of the last event published
-- ARGV  1 channel   2, 3 position and event   4, 5 the next, …
--
-- Returns  the position of the last event published.
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
for i = 2, #ARGV, 2 do
  local position = tonumber(ARGV[i])
  if position > last then
    redis.call('PUBLISH', ARGV[1], ARGV[i + 1])
    last = position
  end
end
redis.call('SET', KEYS[1], last)
return last
