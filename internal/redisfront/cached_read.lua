-- Reads a value, or makes one of all who ask its filler.
--
-- KEYS  1 the value's hash
-- ARGV  1 a name for the filler   2 the version that the reader has, or ''
--
-- Returns  {'same'}              the reader has it
--          {'here', ver, value}  this is it
--          {'fill'}              nobody has it: the reader is to fill it in
--          {'wait'}              somebody fills it in
--          {'changing'}          the record has to be asked
local key = KEYS[1]
local had = redis.call('HMGET', key, 'version', 'fill', 'marked')
local others = redis.call('HLEN', key)
if had[1] then others = others - 2 end
if had[2] then others = others - 1 end
if had[3] then others = others - 1 end
if others > 0 then
  if redis.call('TIME')[1] - had[3] < 60 then
    return {'changing'}
  end
  redis.call('DEL', key) -- whoever was to tell is gone
  had = {}
end
if had[1] then
  if had[1] == ARGV[2] then
    return {'same'}
  end
  return {'here', had[1], redis.call('HGET', key, 'value')}
end
if had[2] then
  return {'wait'}
end
redis.call('HSET', key, 'fill', ARGV[1])
redis.call('PEXPIRE', key, 2000)
return {'fill'}
