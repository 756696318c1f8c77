-- Forgets the oldest events of the log.
--
-- KEYS  1 log (stream)  2 state (hash)   ARGV  1 the first sequence number to keep   Answer  how many went
--
-- Remembers when the newest forgotten event was moved, so that a reader who starts at a time can be told whether
-- anything is missing. Several callers at once do no harm: who wants to keep more than is there finds nothing to do.
local forgotten = redis.call('XREVRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '-', 'COUNT', 1)[1]
if not forgotten then return 0 end
local fields = forgotten[2]
for index = 1, #fields, 2 do
  if fields[index] == 'at' then redis.call('HSET', KEYS[2], 'trimmed-at', fields[index + 1]) end
end
redis.call('HSET', KEYS[2], 'first', ARGV[1])
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1] .. '-0')
