-- Publishes events that are in the log, in its order, those that were not published yet. May run twice.
--
-- KEYS  1 position of the last event published
-- ARGV  1 channel of the events   2 channel that tells the position   3, 4 position and event   5, 6 the next, …
--       An empty event is not published: nobody hears it.
--
-- Returns  the position of the last event published.
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local was = last
for i = 3, #ARGV, 2 do
  local position = tonumber(ARGV[i])
  if position > last then
    if ARGV[i + 1] ~= '' then
      redis.call('PUBLISH', ARGV[1], ARGV[i + 1])
    end
    last = position
  end
end
if last > was then
  redis.call('SET', KEYS[1], string.format('%d', last))
  redis.call('PUBLISH', ARGV[2], string.format('%d', last))
end
return last
