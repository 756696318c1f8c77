import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Namespace } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { invalidArgument, notFound } from '@flotilla/rpc'
import { createSlots } from '@flotilla/turns'
import type { Redis } from 'ioredis'
import { byBytes } from './byte-order.ts'
import { asked, type ConnectionOptions, connectRedis, mapRedisError } from './connection.ts'
import type { LoggedEvent, OutboxEvent, Outcome, Plan } from './plan.ts'
import { ReadCache } from './read-cache.ts'
import { encode } from './records.ts'
import { replicating } from './replication.ts'
import { kindOf } from './server-groups.ts'
import {
  eventLogKey,
  eventPositionsKey,
  eventStateKey,
  keyOf,
  leaseTable,
  namespaceIndexKey,
  namespaceLogKey,
  resourceMember,
  tables,
} from './tables.ts'
import { now } from './time.ts'

export interface MetadataOptions extends ConnectionOptions {
  /** Name of the node or service that writes, noted on events that do not say where they happened. */
  readonly origin: string
  /** Whether no other process writes to the store: then records that were read are kept in memory. */
  readonly soleWriter?: boolean
  /** Replicas that must have a change before it is acknowledged; 0 by default. */
  readonly replicas?: number
  /**
   * Whether events go straight to the event log, in the same step as the change that they tell of. Without it they wait
   * in the namespace's outbox for a relay. Not possible on a Redis Cluster, where it is ignored: the log has a slot of its own.
   */
  readonly directEvents?: boolean
}

/** The shared records of all namespaces. Every method fails UNAVAILABLE at once while Redis is not reachable. */
export interface Metadata extends AsyncDisposable {
  /** One record; undefined when there is none. */
  get(namespace: string, table: string, field: string): Promise<Buffer | undefined>
  getMany(namespace: string, table: string, fields: readonly string[]): Promise<Array<Buffer | undefined>>
  /** A whole table, in byte order of its fields. */
  all(namespace: string, table: string): Promise<Array<readonly [string, Buffer]>>
  /** A table in pieces, for large ones: no order, and a record may come twice or, when written meanwhile, not at all. */
  scan(namespace: string, table: string, batch?: number): AsyncIterable<Array<readonly [string, Buffer]>>
  /** The members of a set table, in byte order. */
  members(namespace: string, table: string): Promise<string[]>
  /** How many fields or members a table has. */
  size(namespace: string, table: string): Promise<number>
  /** One atomic change; acknowledged when Redis says so. Unknown lease: NOT_FOUND `lease does not exist`. */
  transact(namespace: string, plan: Plan): Promise<Outcome>
  /**
   * Where no other process writes and events go straight to the log: has a listener told of those that this process
   * puts there as soon as they are durable, in the order of the log, before whoever made the change hears of it, until
   * the answer is disposed. An empty list says that there is more, to be read from the log. Not told is what was under
   * way when the connection broke. Elsewhere nothing is told, and the answer is undefined.
   */
  onLogged(listener: (events: readonly LoggedEvent[]) => void): Disposable | undefined
  /** How many changes there were in a namespace, ever: while it is the same, nothing there has changed. */
  mutations(namespace: string): Promise<number>
  /** Every namespace that was ever written to, existing or not, in byte order. */
  namespaceNames(): Promise<string[]>
  /** The connection itself, for streams and the collector. */
  readonly redis: Redis
  /** A second connection that may block; the caller quits it. */
  blocking(): Redis
}

/** Records that are asked for one by one where some may be in memory; they leave in one write in any case. */
const fewFields = 16

/**
 * Changes that are sent before the first of them is answered. A command has its seconds from when it is sent: of a flood
 * sent at once the last would be given up while Redis works on the first. As many as these share one sync anyway.
 */
const mostInFlight = 256

const lua = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')

interface Scripted {
  flotillaTransactBuffer(
    ...args: Array<string | number | Buffer>
  ): Promise<[Buffer, Buffer | number | undefined, Buffer | null | undefined, Buffer | undefined]>
  flotillaIndexNamespace(...args: string[]): Promise<number>
}

function asArgument(value: Uint8Array): Buffer
function asArgument(value: Uint8Array | string): Buffer | string
function asArgument(value: Uint8Array | string): Buffer | string {
  return typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

/**
 * Turns a plan into the key and argument lists of transact.lua.
 * @param log an id for the event log, or '' when events go to the outbox
 * @param envelopes the events as they go to the log
 */
function argumentsOf(
  namespace: string,
  plan: Plan,
  origin: string,
  log: string,
  envelopes: readonly Buffer[],
): { keys: string[]; args: Array<string | Buffer> } {
  const keys = [
    tables.namespace,
    tables.outbox,
    tables.gcRun,
    tables.gcDirty,
    tables.gcCounters,
    tables.leases,
    tables.journal,
    leaseTable(plan.lease?.id ?? ''),
    tables.gcMemory,
    tables.gcChanged,
  ].map((table) => keyOf(namespace, table))
  const named = new Map<string, number>()
  const args: Array<string | Buffer> = []
  const keyIndex = (table: string) => {
    let index = named.get(table)
    if (index === undefined) {
      index = keys.push(keyOf(namespace, table))
      named.set(table, index)
    }
    return String(index)
  }
  const list = <T>(items: readonly T[] | undefined, push: (item: T) => void) => {
    args.push(String(items?.length ?? 0))
    for (const item of items ?? []) push(item)
  }
  list(plan.checks, (check) =>
    args.push(
      check.is,
      keyIndex(check.table),
      'field' in check ? check.field : '',
      check.is === 'equals' ? asArgument(check.value) : '',
    ),
  )
  list(plan.writes, (write) => {
    const value =
      write.op === 'set'
        ? asArgument(write.value)
        : write.op === 'increment'
          ? String(write.by)
          : write.op === 'expire'
            ? String(write.ms)
            : ''
    args.push(write.op, keyIndex(write.table), 'field' in write ? write.field : '', value)
  })
  const joins = plan.lease?.add ?? []
  args.push(plan.lease?.id ?? '', joins.length > 0 ? 'required' : '')
  list(joins, (resource) => args.push(resourceMember(resource)))
  list(plan.lease?.remove, (resource) => args.push(resourceMember(resource)))
  const events = plan.events ?? []
  args.push(String(events.length))
  if (events.length > 0) {
    if (log === '') args.push('')
    else args.push(log, ...[eventLogKey, eventStateKey, eventPositionsKey].map((key) => String(keys.push(key))))
  }
  for (const [index, event] of events.entries()) {
    const envelope = envelopes[index]
    const entry = envelope === undefined ? outboxEntry(event) : ['envelope', envelope]
    const sequence = event.sequence === undefined ? '' : String(event.sequence)
    args.push(event.node ?? origin, sequence, String(entry.length), ...entry)
  }
  list(plan.touches, (resource) => args.push(resourceMember(resource)))
  const creates = plan.createsNamespace ?? plan.writes?.some((write) => write.op === 'set') ?? false
  args.push(creates ? encode(Namespace, { name: namespace, labels: {} }) : '', String(plan.deletions ?? 0))
  args.push(plan.known ? 'known' : '', namespace)
  return { keys, args }
}

/** Fields of an entry of the outbox. */
function outboxEntry({ time = now(), topic, typeUrl, value }: OutboxEvent): Array<string | Buffer> {
  return ['topic', topic, 'type', typeUrl, 'value', asArgument(value), 'time', `${time.seconds}.${time.nanos}`]
}

/** An event as clients see it. */
function envelopeOf(namespace: string, { time = now(), topic, typeUrl, value }: OutboxEvent): Buffer {
  return encode(Envelope, { timestamp: time, namespace, topic, event: { typeUrl, value: asArgument(value) } })
}

/** Connects to the metadata store and waits until it answers. */
export async function createMetadata(options: MetadataOptions): Promise<Metadata> {
  if ((options.replicas ?? 0) > 0 && kindOf(options.url) === 'cluster')
    throw invalidArgument('redis.replicas cannot be used with a Redis Cluster')
  const redis = connectRedis(options)
  redis.defineCommand('flotillaTransact', { lua: lua('transact') })
  redis.defineCommand('flotillaIndexNamespace', { numberOfKeys: 2, lua: lua('index-namespace') })
  const scripted = redis as unknown as Scripted
  const replicated = replicating(redis, options.replicas ?? 0)
  // Names this process has seen in the index. The index only grows; a store that was away may have been another one.
  const indexed = new Set<string>()
  redis.on('close', () => indexed.clear())
  await connected(redis, options.url)
  // Also true of one member of a Redis Cluster that is named as if it were alone.
  const hasSlots = /^cluster_enabled:1/m.test(await redis.info('cluster'))
  const cache = options.soleWriter ? new ReadCache(redis) : undefined
  const slots = createSlots(mostInFlight)
  const changing = <T>(namespace: string, plan: Plan, change: () => Promise<T>) => {
    const send = async () => {
      const free = await slots.take()
      try {
        return await replicated(change)
      } finally {
        free()
      }
    }
    return cache ? cache.during(namespace, plan, send) : send()
  }
  const log = options.directEvents && !hasSlots ? randomUUID() : ''

  const listeners = new Set<(events: readonly LoggedEvent[]) => void>()

  /** Tells of a change's events, of which one with a position already taken is not in the log. */
  function tell(first: number, last: number, at: number, events: readonly OutboxEvent[], envelopes: readonly Buffer[]) {
    const whole = last - first + 1 === envelopes.length
    const logged = whole
      ? envelopes.map((envelope, index) => {
          const node = events[index]?.node ?? options.origin
          return { sequence: first + index, envelope, node, at }
        })
      : []
    for (const listener of listeners) listener(logged)
  }

  const get = async (namespace: string, table: string, field: string) => {
    const read = async () => (await asked(redis.hgetBuffer(keyOf(namespace, table), field))) ?? undefined
    return await (cache ? cache.get(namespace, table, field, read) : read())
  }

  return {
    redis,
    blocking: () => connectRedis({ ...options, blocking: true }),
    get,
    async getMany(namespace, table, fields) {
      if (fields.length === 0) return []
      if (cache && fields.length <= fewFields)
        return await Promise.all(fields.map((field) => get(namespace, table, field)))
      const ask = async (some: readonly string[]) => {
        const values = await asked(redis.hmgetBuffer(keyOf(namespace, table), ...some))
        return values.map((value) => value ?? undefined)
      }
      return await (cache ? cache.getMany(namespace, table, fields, ask) : ask(fields))
    },
    async all(namespace, table) {
      const flat = (await asked(redis.callBuffer('HGETALL', keyOf(namespace, table)))) as Buffer[]
      const rows: Array<readonly [string, Buffer]> = []
      for (let i = 0; i + 1 < flat.length; i += 2) rows.push([String(flat[i]), flat[i + 1] as Buffer])
      return rows.sort(([a], [b]) => byBytes(a, b))
    },
    async *scan(namespace, table, batch = 500) {
      type Piece = [cursor: Buffer, flat: Buffer[]]
      const ask = (cursor: string): Promise<Piece> => {
        const answer = asked(redis.callBuffer('HSCAN', keyOf(namespace, table), cursor, 'COUNT', batch))
        // It may fail while the caller is at the piece before, or never comes back for it.
        answer.catch(() => {})
        return answer as Promise<Piece>
      }
      let cursor = '0'
      let coming = ask(cursor)
      do {
        const [next, flat] = await coming
        cursor = String(next)
        // Redis gets the next piece ready while the caller works on this one.
        if (cursor !== '0') coming = ask(cursor)
        const rows: Array<readonly [string, Buffer]> = []
        for (let i = 0; i + 1 < flat.length; i += 2) rows.push([String(flat[i]), flat[i + 1] as Buffer])
        if (rows.length > 0) yield rows
      } while (cursor !== '0')
    },
    async members(namespace, table) {
      return (await asked(redis.smembers(keyOf(namespace, table)))).sort(byBytes)
    },
    async size(namespace, table) {
      const key = keyOf(namespace, table)
      const type = await asked(redis.type(key))
      if (type === 'none') return 0
      return await asked(type === 'set' ? redis.scard(key) : redis.hlen(key))
    },
    async mutations(namespace) {
      return Number(await asked(redis.hget(keyOf(namespace, tables.gcCounters), 'mutations')))
    },
    async transact(namespace, plan) {
      const { events = [] } = plan
      const envelopes = log === '' ? [] : events.map((event) => envelopeOf(namespace, event))
      const { keys, args } = argumentsOf(namespace, plan, options.origin, log, envelopes)
      const [answer] = await changing(namespace, plan, async () => {
        const steps: Promise<unknown>[] = []
        if (!indexed.has(namespace))
          steps.push(scripted.flotillaIndexNamespace(namespaceIndexKey, namespaceLogKey, namespace))
        const change = scripted.flotillaTransactBuffer(keys.length, ...keys, ...args).then((answer) => {
          const [, last, first, at] = answer
          if (at && listeners.size > 0) tell(Number(first), Number(last), Number(at), events, envelopes)
          return answer
        })
        // Both travel in one write; the name is indexed even when the change is refused, which is harmless.
        return await asked(Promise.all([change, ...steps]))
      })
      indexed.add(namespace)
      const kind = String(answer[0])
      if (kind === 'lease') throw notFound('lease does not exist')
      if (kind === 'check') return { ok: false, check: Number(answer[1]), current: answer[2] ?? undefined }
      return { ok: true }
    },
    onLogged(listener) {
      if (log === '' || !options.soleWriter) return undefined
      listeners.add(listener)
      return { [Symbol.dispose]: () => listeners.delete(listener) }
    },
    async namespaceNames() {
      return (await asked(redis.smembers(namespaceIndexKey))).sort(byBytes)
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect()
    },
  }
}

async function connected(redis: Redis, url: string): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      if (redis.status === 'ready' && (await redis.ping()) === 'PONG') return
    } catch (error) {
      if (Date.now() > deadline) throw mapRedisError(error)
    }
    if (Date.now() > deadline) {
      redis.disconnect()
      throw mapRedisError(new Error(`no answer from the metadata store at ${withoutPassword(url)} within 10 s`))
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//***@').replace(/(sentinel_password=)[^&]*/, '$1***')
}
