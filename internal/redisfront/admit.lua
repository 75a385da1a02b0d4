-- Asks whether orders of one product may go on to the ledger. May run twice: what it writes is absolute.
--
-- KEYS  1 the product's hash   2 the users just refused more of it
-- ARGV  1 epoch   2 this process   3 units this process has in flight, without those asked for here
--       4 units that may be in flight beyond what is available   5 now, milliseconds, by this process
--       6, 7 quantity and user of the first order   8, 9 of the second, …
--
-- Returns  quantity, limit per user, then of each order:
--       0 admitted   1 out of stock   2 not on sale   3 limit per user   5 to be asked of the record
--       Of a product that is not known, or not in this epoch, it returns -1 only: all are admitted, and the commit tells of it.
--
-- A refusal is believed for a second after the record last confirmed the hash; then one order, of all processes', is sent to ask.
local known = redis.call('HGETALL', KEYS[1])
local p, others = {}, 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = 'f:' .. ARGV[2]
for i = 1, #known, 2 do
  local name, value = known[i], known[i + 1]
  if name:sub(1, 2) ~= 'f:' then
    p[name] = value
  elseif name ~= mine then
    local units, at = value:match('^(%d+) (%d+)$')
    if units and math.abs(now - at) < 2000 then
      others = others + units
    else
      redis.call('HDEL', KEYS[1], name) -- its process is gone, or has said nothing for longer than an order may wait
    end
  end
end
if p.epoch ~= ARGV[1] or not p.quantity or not p.active then
  return {-1}
end

local quantity, limit, own = tonumber(p.quantity), tonumber(p.limit), tonumber(ARGV[3])
local slack, here = tonumber(ARGV[4]), tonumber(ARGV[5])
-- Who is not certain of the time leaves it to the record: within two seconds of an end, or where two clocks disagree.
local closed = p.active ~= '1'
  or (p.from ~= '' and math.max(now, here) < p.from - 2000)
  or (p['until'] ~= '' and math.min(now, here) >= p['until'] + 2000)
-- A time to come is none to believe: the server's clock was set back.
local old = math.abs(now - p.fresh) >= 1000 and math.abs(now - (p.probed or 0)) >= 1000

local refused = {}
if limit > 0 then
  local users = {}
  for i = 7, #ARGV, 2 do
    users[#users + 1] = ARGV[i]
  end
  refused = redis.call('HMGET', KEYS[2], unpack(users))
end

local answers = {quantity, limit}
local admitted = false
for i = 6, #ARGV, 2 do
  local wanted, verdict = tonumber(ARGV[i]), 0
  if closed then
    verdict = 2
  elseif refused[(i - 4) / 2] and wanted >= tonumber(refused[(i - 4) / 2]) then
    verdict = 3
  elseif wanted > quantity or others + own > quantity + slack then
    verdict = 1
  end
  if (verdict == 1 or verdict == 2) and old then
    redis.call('HSET', KEYS[1], 'probed', now)
    old = false
    verdict = 5
  end
  if verdict == 0 then
    own = own + wanted
    admitted = true
  end
  answers[#answers + 1] = verdict
end
if admitted then
  redis.call('HSET', KEYS[1], mine, own .. ' ' .. now)
end
return answers
