-- Takes those entries off the write barrier that cannot have made garbage reachable, up to the first that might have.
--
-- KEYS  1 gc run  2 gc dirty list  3 gc watch set  4 snapshot stores  5… the tables of records
-- ARGV  1 the run's id  2 how many snapshot stores the caller knows  3… the type of each table from KEYS[5] on
-- Answer  how many entries were taken off; -1 when the run is no more ours
--
-- The watch set has the ids (whatever their type) of everything whose being written, or being referred to by something
-- written, may matter: see the README. A record that was written refers to others by its label values and a few fields,
-- so those strings are looked up; a string that is there by chance only costs time. One call looks at 200 entries.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
-- A new snapshot store: its records could not be found here.
if redis.call('SCARD', KEYS[4]) ~= tonumber(ARGV[2]) then return 0 end

-- Where the records (protobuf) have what they refer to: a map of labels, strings, a message with one string in it.
local fields = {
  images = { labels = 2, nested = 3, inner = 2 },
  content = { labels = 5 },
  containers = { labels = 2, plain = 7 },
  ingests = { plain = 5 },
  sandboxes = { labels = 4 },
  snapshots = { labels = 6, plain = 3 },
}

local tablesOf = {}
for index = 5, #KEYS do
  local type = ARGV[index - 2]
  tablesOf[type] = tablesOf[type] or {}
  table.insert(tablesOf[type], KEYS[index])
end

local function varint(bytes, at)
  local value, scale = 0, 1
  while true do
    local byte = string.byte(bytes, at)
    at = at + 1
    value = value + (byte % 128) * scale
    if byte < 128 then return value, at end
    scale = scale * 128
  end
end

-- Calls visit(field, first, last) for each length-delimited field of a message.
local function walk(bytes, from, to, visit)
  local at = from
  while at <= to do
    local tag, length
    tag, at = varint(bytes, at)
    local wire = tag % 8
    if wire == 2 then
      length, at = varint(bytes, at)
      visit((tag - wire) / 8, at, at + length - 1)
      at = at + length
    elseif wire == 0 then
      length, at = varint(bytes, at)
    elseif wire == 1 then
      at = at + 8
    elseif wire == 5 then
      at = at + 4
    else
      error('record with wire type ' .. wire)
    end
  end
end

local function watched(id) return redis.call('SISMEMBER', KEYS[3], id) == 1 end

local function refersToWatched(bytes, where)
  local found = false
  local function look(text)
    if found then return end
    -- A condition ends with the key it is about.
    local bar = string.find(text, '|', 1, true)
    found = watched(text) or (bar ~= nil and watched(string.sub(text, bar + 1)))
  end
  local function look_inside(number)
    return function(field, first, last)
      if field == number then look(string.sub(bytes, first, last)) end
    end
  end
  walk(bytes, 1, #bytes, function(field, first, last)
    if field == where.labels then walk(bytes, first, last, look_inside(2))
    elseif field == where.nested then walk(bytes, first, last, look_inside(where.inner))
    elseif field == where.plain then look(string.sub(bytes, first, last))
    end
  end)
  return found
end

local function harmless(member)
  local at = string.find(member, '\0', 1, true)
  if not at then return false end
  local type, id = string.sub(member, 1, at - 1), string.sub(member, at + 1)
  if watched(id) then return false end
  local where = fields[string.match(type, '^[^/]*')]
  for _, key in ipairs(where and tablesOf[type] or {}) do
    local bytes = redis.call('HGET', key, id)
    if bytes and refersToWatched(bytes, where) then return false end
  end
  return true
end

local taken = 0
local seen = {}
for _, member in ipairs(redis.call('LRANGE', KEYS[2], 0, 199)) do
  if not seen[member] and not harmless(member) then break end
  seen[member] = true
  taken = taken + 1
end
if taken > 0 then redis.call('LTRIM', KEYS[2], taken, -1) end
return taken
