import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Plan } from './plan.ts'
import { tables } from './tables.ts'

/** Most records, and bytes of them, that are kept. */
const [mostRecords, mostBytes] = [20_000, 64 * 1024 * 1024]

/** What only {@link Plan.writes} changes, never a script by itself; snapshots have a table for each store. */
const kept: ReadonlySet<string> = new Set([tables.images, tables.containers, tables.content, tables.sandboxes])
const isKept = (table: string) => kept.has(table) || table.startsWith('snapshots:')

const keyOf = (namespace: string, table: string, field: string) => `${namespace}\0${table}\0${field}`

/**
 * Records of a store to which no other process writes, as they were read or found absent. It is never wrong: what a
 * change is about is forgotten before the change is sent, and not kept again before its outcome is known; a read that
 * was under way meanwhile is not kept either. Commands of one connection are carried out in order, so what is read after
 * a change, even one that was given up, is what the change left. When the connection breaks all is forgotten, and
 * nothing kept until the store has ended the broken one for certain: it may have had changes of it unread.
 */
export class ReadCache {
  /** The longest unused first. */
  readonly #records = new Map<string, Buffer | undefined>()
  #bytes = 0
  /** How many changes are under way, by record. */
  readonly #changing = new Map<string, number>()
  /** Reads that are under way; set to false when a change came between. */
  readonly #reading = new Map<string, Set<{ clean: boolean }>>()
  #trusted = false
  /** Changes under way that drop whole tables. */
  #dropping = 0

  constructor(redis: Redis) {
    const name = `flotilla-${randomUUID()}`
    redis.on('close', () => this.#distrust())
    const begin = async () => {
      const stream = redis.stream
      try {
        await endOthers(redis, name)
      } catch {
        // Without it reads go to the store; the next connection tries again.
        return
      }
      this.#trusted = redis.stream === stream && redis.status === 'ready'
    }
    redis.on('ready', begin)
    if (redis.status === 'ready') void begin()
  }

  /** A record, from memory or by `ask`, which must send its command at once. */
  async get(
    namespace: string,
    table: string,
    field: string,
    ask: () => Promise<Buffer | undefined>,
  ): Promise<Buffer | undefined> {
    if (!this.#trusted || this.#dropping > 0 || !isKept(table)) return await ask()
    const key = keyOf(namespace, table, field)
    if (this.#records.has(key)) return this.#used(key)
    if (this.#changing.has(key)) return await ask()
    const reading = { clean: true }
    const others = this.#reading.get(key) ?? new Set()
    this.#reading.set(key, others.add(reading))
    try {
      const record = await ask()
      if (reading.clean) this.#keep(key, record)
      return record
    } finally {
      others.delete(reading)
      if (others.size === 0) this.#reading.delete(key)
    }
  }

  /**
   * Records, in the order of their fields: from memory, and by one `ask` for those that are not there. What it gives is
   * not kept: one walk through a large table would drive out what is read again and again.
   */
  async getMany(
    namespace: string,
    table: string,
    fields: readonly string[],
    ask: (fields: readonly string[]) => Promise<Array<Buffer | undefined>>,
  ): Promise<Array<Buffer | undefined>> {
    if (!this.#trusted || this.#dropping > 0 || !isKept(table)) return await ask(fields)
    const missing: string[] = []
    const places: number[] = []
    const records = fields.map((field, place) => {
      const key = keyOf(namespace, table, field)
      if (this.#records.has(key)) return this.#records.get(key)
      missing.push(field)
      places.push(place)
      return undefined
    })
    if (missing.length === 0) return records
    for (const [index, record] of (await ask(missing)).entries()) records[places[index] ?? 0] = record
    return records
  }

  /** Makes a change; everything that it writes is read from the store until its outcome is known. */
  async during<T>(namespace: string, { writes = [] }: Plan, change: () => Promise<T>): Promise<T> {
    const keys: string[] = []
    let drops = 0
    for (const write of writes) {
      if (!isKept(write.table)) continue
      if ('field' in write) keys.push(keyOf(namespace, write.table, write.field))
      else drops = 1
    }
    this.#dropping += drops
    if (drops > 0) this.#forgetAll()
    for (const key of keys) {
      this.#changing.set(key, (this.#changing.get(key) ?? 0) + 1)
      this.#forget(key)
      for (const reading of this.#reading.get(key) ?? []) reading.clean = false
    }
    try {
      return await change()
    } finally {
      this.#dropping -= drops
      for (const key of keys) {
        const left = (this.#changing.get(key) ?? 0) - 1
        if (left > 0) this.#changing.set(key, left)
        else this.#changing.delete(key)
      }
    }
  }

  #distrust(): void {
    this.#trusted = false
    this.#forgetAll()
  }

  #forgetAll(): void {
    this.#records.clear()
    this.#bytes = 0
    for (const readings of this.#reading.values()) for (const reading of readings) reading.clean = false
  }

  /** A record that is in memory, from now on the one used last. */
  #used(key: string): Buffer | undefined {
    const record = this.#records.get(key)
    this.#records.delete(key)
    this.#records.set(key, record)
    return record
  }

  #keep(key: string, record: Buffer | undefined): void {
    if (!this.#trusted) return
    this.#forget(key)
    this.#records.set(key, record)
    this.#bytes += record?.length ?? 0
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= mostRecords && this.#bytes <= mostBytes) return
      this.#forget(oldest)
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#records.get(key)?.length ?? 0
    this.#records.delete(key)
  }
}

/** Ends the connections that had this name before, with what they had sent and the store not read, and takes the name. */
async function endOthers(redis: Redis, name: string): Promise<void> {
  const list = (await redis.client('LIST')) as string
  for (const line of list.split('\n')) {
    const id = / name=(\S*)/.exec(line)?.[1] === name ? /^id=(\d+)/.exec(line)?.[1] : undefined
    if (id !== undefined) await redis.client('KILL', 'ID', id)
  }
  await redis.client('SETNAME', name)
}
