-- Remembers that a namespace name is in use, before its first write.
-- KEYS 1 index set  2 log stream   ARGV 1 name   Answer 1 when it was new
-- The relay of events waits on the log, so it learns of a new outbox before anything is in it.
local new = redis.call('SADD', KEYS[1], ARGV[1])
if new == 1 then redis.call('XADD', KEYS[2], '*', 'name', ARGV[1]) end
return new
