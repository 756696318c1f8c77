/**
 * Where the log lives; one Redis Cluster slot of its own.
 *
 * | key | type | content |
 * |---|---|---|
 * | `fl:{events}:log` | stream | entry id `SEQUENCE-0` → envelope (protobuf), node, outbox (entry id there), at (ms, when moved) |
 * | `fl:{events}:state` | hash | log (its id), sequence (last), at (of the last), first (oldest kept), trimmed-at (of the newest forgotten) |
 * | `fl:{events}:positions` | hash | namespace → id of the last outbox entry that is in the log |
 */
export const logKey = 'fl:{events}:log'
export const stateKey = 'fl:{events}:state'
export const positionsKey = 'fl:{events}:positions'
