-- Reads a value, or makes one of all who ask its filler.
--
-- KEYS  1 the value's hash
-- ARGV  1 a name for the filler
--
-- Returns  {'here', ver, value}  this is it; version 0: there is none
--          {'fill'}              nobody has it: the reader is to fill it in
--          {'wait'}              somebody fills it in
--          {'changing'}          the record has to be asked
--
-- Whoever has a version already asks with HMGET key version marked: unmarked, it is still so.
local key = KEYS[1]
local had = redis.call('HMGET', key, 'version', 'fill', 'marked')
if had[3] then
  if redis.call('TIME')[1] - had[3] < 60 then
    return {'changing'}
  end
  redis.call('DEL', key) -- whoever was to tell is gone
  had = {}
end
if had[1] then
  return {'here', had[1], redis.call('HGET', key, 'value')}
end
if had[2] then
  return {'wait'}
end
redis.call('HSET', key, 'fill', ARGV[1])
redis.call('PEXPIRE', key, 2000)
return {'fill'}
