-- Takes entries off the write barrier of a collection.
-- KEYS 1 gc run  2 gc dirty list   ARGV 1 the run's id  2 how many at most
-- Answer  the entries, the oldest first; nil when the run is no more ours: the entries are then another's
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return false end
local count = tonumber(ARGV[2])
local taken = redis.call('LRANGE', KEYS[2], 0, count - 1)
if #taken > 0 then redis.call('LTRIM', KEYS[2], count, -1) end
return taken
