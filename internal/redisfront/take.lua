-- Takes granted blocks of order numbers for one process. A lost reply loses the blocks.
--
-- KEYS  1 the blocks of a day, each 'first:count', rising
-- ARGV  1 the least number that the process can still give   2 how many numbers it wants
--
-- Returns  how many blocks are left, then first and count of each that was taken. Those below what the process can give, because
--       it has taken higher ones elsewhere, are dropped.
local taken, want = {}, tonumber(ARGV[2])
while want > 0 do
  local block = redis.call('LPOP', KEYS[1])
  if not block then
    break
  end
  local first, count = block:match('^(%d+):(%d+)$')
  if first and tonumber(first) >= tonumber(ARGV[1]) then
    taken[#taken + 1] = tonumber(first)
    taken[#taken + 1] = tonumber(count)
    want = want - count
  end
end
return {redis.call('LLEN', KEYS[1]), unpack(taken)}
