-- Takes over what the record says of one product, if it is newer. May run twice.
--
-- KEYS  1 the product's hash
-- ARGV  1 epoch   2 this process   3 units it has in flight   4 product_id   5 available   6 version of the stock
--       7 version of the product   8 active, 0 or 1   9, 10 on sale from, until, milliseconds or ''   11 limit per user, 0: none
--
-- A hash of another epoch is dropped: it is another record's, or was left behind.
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local had = redis.call('HMGET', key, 'epoch', 'version', 'product_version')
if had[1] ~= ARGV[1] then
  redis.call('DEL', key)
  redis.call('HSET', key, 'epoch', ARGV[1], 'product_id', ARGV[4])
  redis.call('EXPIRE', key, 172800) -- what is still for sale then comes back with the next order
  had = {}
end
if not had[2] or tonumber(ARGV[6]) >= tonumber(had[2]) then
  redis.call('HSET', key, 'quantity', ARGV[5], 'version', ARGV[6], 'fresh', now)
end
if not had[3] or tonumber(ARGV[7]) >= tonumber(had[3]) then
  redis.call('HSET', key, 'product_version', ARGV[7], 'active', ARGV[8], 'from', ARGV[9], 'until', ARGV[10], 'limit', ARGV[11])
end
if ARGV[3] == '0' then
  redis.call('HDEL', key, 'f:' .. ARGV[2])
else
  redis.call('HSET', key, 'f:' .. ARGV[2], ARGV[3] .. ' ' .. now)
end
return 0
