-- Takes records off the set of those that changed since a collector last read them.
-- KEYS 1 gc memory  2 gc changed   ARGV 1 the mark of that collector's memory  2 how many at most
-- Answer  the records, in no order; nil when the set is no more about that memory
if redis.call('HGET', KEYS[1], 'mark') ~= ARGV[1] then return false end
return redis.call('SPOP', KEYS[2], ARGV[2])
