-- Moves events from outboxes into the log, exactly once.
--
-- KEYS  1 log (stream)  2 state (hash)  3 positions (hash: namespace → id of the last outbox entry in the log)
-- ARGV  a flat list, read in order:
--         an id for the log, taken when it has none yet
--         count, then for each namespace: name, the position from which the caller read
--         count, then for each event in order: index of its namespace, outbox id, envelope, node
-- Answer  {'moved', last sequence} or {'stale', {namespace, recorded position, …}} and nothing is moved
--
-- Positions and entries change in one step. So any number of relays may run: the one that read from a position that is
-- no longer the recorded one is refused as a whole, and a relay that dies leaves either all of its step or nothing.
local at = 0
local function take() at = at + 1; return ARGV[at] end

local id = take()
local names, reached, stale = {}, {}, {}
for index = 1, tonumber(take()) do
  local name, expected = take(), take()
  names[index] = name
  local recorded = redis.call('HGET', KEYS[3], name) or '0-0'
  if recorded ~= expected then
    stale[#stale + 1] = name
    stale[#stale + 1] = recorded
  end
end
if #stale > 0 then return { 'stale', stale } end

redis.call('HSETNX', KEYS[2], 'log', id)
local sequence = tonumber(redis.call('HGET', KEYS[2], 'sequence') or '0')
-- Milliseconds since the epoch, never less than on the entry before: the log is searched by it.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local before = tonumber(redis.call('HGET', KEYS[2], 'at') or '0')
if now < before then now = before end
local stamp = string.format('%.0f', now)

for _ = 1, tonumber(take()) do
  local name, outbox, envelope, node = names[tonumber(take())], take(), take(), take()
  sequence = sequence + 1
  redis.call('XADD', KEYS[1], string.format('%.0f-0', sequence),
    'envelope', envelope, 'node', node, 'outbox', outbox, 'at', stamp)
  reached[name] = outbox
end
for name, outbox in pairs(reached) do redis.call('HSET', KEYS[3], name, outbox) end
local last = string.format('%.0f', sequence)
redis.call('HSET', KEYS[2], 'sequence', last, 'at', stamp)
return { 'moved', last }
