-- Takes one from a quota, or, where it is used up, nothing, by the generic cell rate algorithm. See ratelimit.Quota.Take. May not run twice:
-- then two are taken.
--
-- KEYS  1 when the quota is whole again, microseconds since 1970
-- ARGV  1 microseconds in which one grows back   2 burst
--
-- Returns {now, whole}: the moment, and the one at which the quota was going to be whole again, now at the earliest. The time is the
-- server's: by the clocks of two desks, of which one is ahead, the other would find a small quota used up all the time. Doubles are
-- exact up to 2^53 microseconds, which is in the year 2255.
local every, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now, window = time[1] * 1000000 + time[2], every * burst
local whole = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + window)
local taken = whole + every
if taken - window <= now then
  redis.call('SET', KEYS[1], string.format('%.0f', taken), 'PX', math.ceil((taken - now) / 1000) + 1000)
end
return {now, whole}
