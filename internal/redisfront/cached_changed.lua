-- Says what a value has become by a commit. May run twice, late, and in any order: the version decides.
--
-- KEYS  1 the value's hash
-- ARGV  1 this process   2 its count of batches when it was committed   3 version   4 value   5 kept for, milliseconds
local key, mine = KEYS[1], 'd:' .. ARGV[1]
local had = redis.call('HMGET', key, 'version', mine)
if not had[1] or tonumber(ARGV[3]) > tonumber(had[1]) then
  redis.call('HDEL', key, 'fill')
  redis.call('HSET', key, 'version', ARGV[3], 'value', ARGV[4])
end
if had[2] and tonumber(had[2]:match('^%d+')) <= tonumber(ARGV[2]) then
  redis.call('HDEL', key, mine)
  local others = false
  if redis.call('HLEN', key) > 3 then -- more than version, value and marked
    local now = redis.call('TIME')[1]
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if all[i]:sub(1, 2) == 'd:' then
        if now - all[i + 1]:match('%d+$') < 60 then
          others = true
        else
          redis.call('HDEL', key, all[i]) -- whoever was to tell is gone
        end
      end
    end
  end
  if not others then
    redis.call('HDEL', key, 'marked')
  end
end
redis.call('PEXPIRE', key, ARGV[5])
return 0
