-- Names orders whose time is over, each to one process. May run twice: what a lost reply named is named again when its lease ends.
--
-- KEYS  1 deadlines: orders by when they are due, in milliseconds
-- ARGV  1 now   2 until when those that are named are leased   3 how many at most
--
-- Returns  when the next is due or its lease ends, or '', then the orders.
--
-- A leased order stays in the set, due again when the lease ends: so none is lost with the process that it was named to.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
if #due > 0 then
  local leased = {}
  for _, no in ipairs(due) do
    leased[#leased + 1] = ARGV[2]
    leased[#leased + 1] = no
  end
  redis.call('ZADD', KEYS[1], 'XX', unpack(leased))
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {first[2] or '', unpack(due)}
