-- One atomic change of one containerd namespace.
--
-- KEYS  1 namespace  2 outbox  3 gc run  4 gc dirty list  5 gc counters  6 leases  7 event journal  8 the lease's
--       resources  9 gc memory  10 gc changed  11… the tables that checks and writes name by index
-- ARGV  a flat list, read in order:
--         count, then for each check: kind, key index, field, value
--         count, then for each write: kind, key index, field, value
--         lease id ('' for none), 'required' or ''
--         count, then each resource that joins the lease;  count, then each that leaves it
--         count of events; when there are any: an id for the event log, taken when it has none yet, and the key indexes
--         of log, state and positions ('' alone when events go to the outbox); then for each event: node, journal
--         sequence ('' for none), count, then so many names and values of its entry
--         count, then each touched resource
--         the record for a namespace that does not exist yet ('' when this change creates none)
--         deletions to count
--         'known' when the collector makes this change, which then needs no notice of it, or ''
--         the namespace
-- Answer  {'ok', id of the last event in outbox or log}, and if that is the log, the first one's and their time there;
--         or {'check', index from 0, current value} or {'lease'}
--
-- All checks are made before the first write, so a refused change leaves nothing. The write barrier (dirty list) is
-- filled in the same step: a collector that has seen an empty list knows that nothing was written since. So is the set of
-- records changed, as long as a collector remembers how they were.
local at = 0
local function take() at = at + 1; return ARGV[at] end
local function count() return tonumber(take()) end

for index = 0, count() - 1 do
  local kind, key, field, value = take(), KEYS[tonumber(take())], take(), take()
  local current
  local holds
  if kind == 'absent' then
    current = redis.call('HGET', key, field); holds = not current
  elseif kind == 'present' then
    current = redis.call('HGET', key, field); holds = current
  elseif kind == 'equals' then
    current = redis.call('HGET', key, field); holds = current == value
  elseif kind == 'empty' then
    holds = redis.call('EXISTS', key) == 0
  elseif kind == 'member' then
    holds = redis.call('SISMEMBER', key, field) == 1
  else
    return redis.error_reply('ERR unknown check ' .. kind)
  end
  if not holds then return { 'check', index, current } end
end

-- Writes come after the lease check below, so remember where they start.
local writesAt = at
for _ = 1, count() do at = at + 4 end
local lease, required = take(), take()
local leased = lease ~= '' and redis.call('HEXISTS', KEYS[6], lease) == 1
if lease ~= '' and not leased and required ~= '' then return { 'lease' } end
local afterLease = at

-- For each record that a collector may remember, TABLE\0FIELD; false when none has to be told.
local changed = redis.call('EXISTS', KEYS[9]) == 1 and ARGV[#ARGV - 1] == '' and {}
-- More than these cost a collector as much as reading everything again, and Redis some megabytes.
local mostChanged = 50000
local remembered = { images = 1, content = 1, ingests = 1, containers = 1, leases = 1, sandboxes = 1 }
local function note(kind, key, field)
  local name = string.sub(key, #KEYS[9] - #'gc-memory' + 1)
  if not remembered[name] and string.sub(name, 1, 10) ~= 'snapshots:' then return end
  if kind == 'set' or kind == 'delete' then
    table.insert(changed, name .. '\0' .. field)
  elseif kind == 'drop' then
    redis.call('DEL', KEYS[9], KEYS[10])
    changed = false
  end
end

at = writesAt
for _ = 1, count() do
  local kind, key, field, value = take(), KEYS[tonumber(take())], take(), take()
  if changed then note(kind, key, field) end
  if kind == 'set' then redis.call('HSET', key, field, value)
  elseif kind == 'delete' then redis.call('HDEL', key, field)
  elseif kind == 'add' then redis.call('SADD', key, field)
  elseif kind == 'remove' then redis.call('SREM', key, field)
  elseif kind == 'increment' then
    if redis.call('HINCRBY', key, field, value) == 0 then redis.call('HDEL', key, field) end
  elseif kind == 'drop' then redis.call('DEL', key)
  elseif kind == 'expire' then redis.call('PEXPIRE', key, value)
  else return redis.error_reply('ERR unknown write ' .. kind)
  end
end

at = afterLease
local collecting = redis.call('EXISTS', KEYS[3]) == 1
local joining = count()
for _ = 1, joining do
  local member = take()
  if leased then
    redis.call('SADD', KEYS[8], member)
    if collecting then redis.call('RPUSH', KEYS[4], member) end
  end
end
local leaving = count()
for _ = 1, leaving do
  local member = take()
  if leased then redis.call('SREM', KEYS[8], member) end
end

if changed and leased and joining + leaving > 0 then table.insert(changed, 'leases\0' .. lease) end
if changed and #changed > 0 then
  for _, record in ipairs(changed) do redis.call('SADD', KEYS[10], record) end
  if redis.call('SCARD', KEYS[10]) > mostChanged then redis.call('DEL', KEYS[9], KEYS[10]) end
end

local last = ''
local first, stamp
local events = count()
if events > 0 then
  -- Where log and outbox are in one store, an event goes straight to the log, unless older ones still wait for the relay.
  local log, logKey, stateKey = take(), nil, nil
  if log ~= '' then
    logKey, stateKey = KEYS[tonumber(take())], KEYS[tonumber(take())]
    local waiting = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
    local positions = KEYS[tonumber(take())]
    if waiting and waiting[1] ~= redis.call('HGET', positions, ARGV[#ARGV]) then log = '' end
  end
  local sequence
  for _ = 1, events do
    local node, number = take(), take()
    local entry = {}
    for index = 1, count() do entry[index] = take() end
    local fresh = true
    if number ~= '' then
      local seen = redis.call('HGET', KEYS[7], node)
      fresh = not seen or tonumber(seen) < tonumber(number)
      if fresh then redis.call('HSET', KEYS[7], node, number) end
    end
    if fresh and log == '' then
      last = redis.call('XADD', KEYS[2], '*', 'node', node, unpack(entry))
    elseif fresh then
      if not sequence then
        redis.call('HSETNX', stateKey, 'log', log)
        local state = redis.call('HMGET', stateKey, 'sequence', 'at')
        sequence = tonumber(state[1] or '0')
        -- Milliseconds since the epoch, never less than on the entry before: the log is searched by it.
        local clock = redis.call('TIME')
        local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
        stamp = string.format('%.0f', math.max(now, tonumber(state[2] or '0')))
      end
      sequence = sequence + 1
      local id = string.format('%.0f', sequence)
      first = first or id
      -- Its place in an outbox, after those of the same millisecond that went there.
      redis.call('XADD', logKey, id .. '-0', 'node', node, 'outbox', stamp .. '-' .. id, 'at', stamp, unpack(entry))
      last = id
    end
  end
  if sequence then redis.call('HSET', stateKey, 'sequence', string.format('%.0f', sequence), 'at', stamp) end
end

local touched = count()
for _ = 1, touched do
  local member = take()
  if collecting then redis.call('RPUSH', KEYS[4], member) end
end

local record, deletions = take(), take()
if record ~= '' then redis.call('HSETNX', KEYS[1], 'record', record) end
redis.call('HINCRBY', KEYS[5], 'mutations', 1)
if deletions ~= '0' then redis.call('HINCRBY', KEYS[5], 'deletions', deletions) end
return { 'ok', last, first, stamp }
