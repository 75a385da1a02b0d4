-- Takes from a quota, or, where it is used up, nothing, by the generic cell rate algorithm. See ratelimit.Quota.Take.
--
-- KEYS  1 when the quota is whole again, microseconds since 1970
-- ARGV  1 now, microseconds   2 microseconds in which one grows back   3 burst   4 cost
--
-- Returns the moment at which it was going to be whole again, now at the earliest. The time is the caller's: a desk whose clock is ahead
-- or behind makes others wait no longer than the window. Doubles are exact up to 2^53 microseconds, which is in the year 2255.
local now, every, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local window = every * burst
local whole = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + window)
local taken = whole + every * cost
if taken - window > now then
  return whole
end
redis.call('SET', KEYS[1], string.format('%.0f', taken), 'PX', math.ceil((taken - now) / 1000) + 1000)
return whole
