import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Envelope } from '@flotilla/api/containerd/types/types'
import type { Logger } from '@flotilla/log'
import { encode, keyOf, type Metadata, namespaceLogKey, tables } from '@flotilla/metadata'
import { type BlockingReader, createBlockingReader } from './blocking-reader.ts'
import { asking } from './event-log.ts'
import { logKey, positionsKey, stateKey } from './keys.ts'
import { merge, type Pending } from './merge.ts'
import { beginning, compareIds, idAfter } from './stream-id.ts'
import { type StreamEntry, textField } from './stream-reply.ts'

/** Entries read of each outbox at a time, and moved by one script call: about a millisecond of Redis' time. */
const batch = 500
/** Milliseconds between two rounds of trimming outboxes. */
const trimEvery = 1_000

/** Moves every outbox into the log. Any number may run against one store. */
export interface Relay extends AsyncDisposable {
  /** The namespaces it knows, each with the outbox position up to which it is in the log. */
  readonly positions: ReadonlyMap<string, string>
}

interface Scripted {
  flotillaMoveEvents(
    ...args: Array<string | number | Buffer>
  ): Promise<readonly ['moved', string] | readonly ['stale', readonly string[]]>
}

export interface RelayDeps {
  readonly metadata: Metadata
  readonly logger: Logger
  /** Told when it moved events into the log. */
  readonly onMoved?: () => void
}

export function createRelay({ metadata, logger, onMoved }: RelayDeps): Relay {
  metadata.redis.defineCommand('flotillaMoveEvents', {
    numberOfKeys: 3,
    lua: readFileSync(new URL('./lua/move.lua', import.meta.url), 'utf8'),
  })
  const scripted = metadata.redis as unknown as Scripted
  const reader: BlockingReader = createBlockingReader(metadata)
  const positions = new Map<string, string>()
  const stop = new AbortController()
  let announced = beginning
  let away = false
  // What the trimming of the round after next may remove: trimming stays behind moving by a second at least, so that a
  // store which syncs once a second has the move on disk before the outbox forgets.
  let moved = new Map<string, string>()
  let settled = new Map<string, string>()

  async function load() {
    const recorded = await asking(metadata.redis.hgetall(positionsKey))
    positions.clear()
    for (const [namespace, id] of Object.entries(recorded)) positions.set(namespace, id)
    moved = new Map(positions)
    announced = beginning
  }

  async function round() {
    const keys = new Map<string, string>([[namespaceLogKey, announced]])
    const namespaces = new Map<string, string>()
    for (const [namespace, id] of positions) {
      const key = keyOf(namespace, tables.outbox)
      namespaces.set(key, namespace)
      keys.set(key, id)
    }
    const outboxes: Pending[][] = []
    // Where an outbox has more than was read, later events of other namespaces wait for the next round: so the log has
    // the order of recording also between namespaces, as far as clocks of one store give it.
    let until: string | undefined
    let unread = false
    for (const [key, entries] of await reader.read(keys, batch)) {
      const last = entries.at(-1)?.id ?? beginning
      const namespace = namespaces.get(key)
      if (namespace === undefined) {
        announced = last
        for (const entry of entries) {
          const name = textField(entry, 'name')
          if (positions.has(name)) continue
          positions.set(name, beginning)
          unread = true
        }
        continue
      }
      if (entries.length === batch && (until === undefined || compareIds(last, until) < 0)) until = last
      outboxes.push(entries.map((entry) => ({ namespace, entry })))
    }
    // A new namespace is announced before its first event: what others recorded after that waits for it.
    if (unread) return
    const pending = merge(outboxes)
    const bound = until
    const due = bound === undefined ? pending : pending.filter(({ entry }) => compareIds(entry.id, bound) <= 0)
    for (let at = 0; at < due.length; at += batch) {
      if (!(await move(due.slice(at, at + batch)))) return
    }
  }

  async function move(events: readonly Pending[]): Promise<boolean> {
    const indexes = new Map<string, number>()
    const names: string[] = []
    const items: Array<string | Buffer> = []
    for (const { namespace, entry } of events) {
      let index = indexes.get(namespace)
      if (index === undefined) {
        index = indexes.size + 1
        indexes.set(namespace, index)
        names.push(namespace, positions.get(namespace) ?? beginning)
      }
      items.push(String(index), entry.id, envelopeOf(namespace, entry), textField(entry, 'node'))
    }
    const [outcome, detail] = await asking(
      scripted.flotillaMoveEvents(
        ...[logKey, stateKey, positionsKey],
        randomUUID(),
        indexes.size,
        ...names,
        events.length,
        ...items,
      ),
    )
    if (outcome === 'moved') {
      for (const { namespace, entry } of events) {
        positions.set(namespace, entry.id)
        moved.set(namespace, entry.id)
      }
      onMoved?.()
      return true
    }
    for (let at = 0; at + 1 < detail.length; at += 2) positions.set(detail[at] ?? '', detail[at + 1] ?? beginning)
    // Another relay was faster; let it work rather than race it for every event.
    await sleep(5 + Math.random() * 15, undefined, { signal: stop.signal })
    return false
  }

  async function trim() {
    for (const [namespace, id] of settled)
      await asking(metadata.redis.xtrim(keyOf(namespace, tables.outbox), 'MINID', idAfter(id)))
    settled = moved
    moved = new Map()
  }

  async function relaying() {
    while (!stop.signal.aborted) {
      try {
        await reader.ready()
        await load()
        if (away) logger.info('relaying events again')
        away = false
        for (;;) await round()
      } catch (error) {
        if (stop.signal.aborted) return
        if (!away) logger.warn({ err: error }, 'relaying of events interrupted')
        away = true
        await sleep(50)
      }
    }
  }

  async function trimming() {
    while (!stop.signal.aborted) {
      await sleep(trimEvery, undefined, { signal: stop.signal }).catch(() => {})
      // What was not trimmed now is trimmed after the next load or move; it is not read again in any case.
      if (!stop.signal.aborted) await trim().catch(() => {})
    }
  }

  const running = [relaying(), trimming()]
  return {
    positions,
    async [Symbol.asyncDispose]() {
      stop.abort()
      reader[Symbol.dispose]()
      await Promise.all(running)
    },
  }
}

function envelopeOf(namespace: string, entry: StreamEntry): Buffer {
  // Writers that could have put it into the log themselves leave it whole.
  const whole = entry.fields.get('envelope')
  if (whole) return whole
  const [seconds, nanos] = textField(entry, 'time').split('.')
  return encode(Envelope, {
    timestamp: { seconds: Number(seconds), nanos: Number(nanos ?? 0) },
    namespace,
    topic: textField(entry, 'topic'),
    event: { typeUrl: textField(entry, 'type'), value: entry.fields.get('value') ?? Buffer.alloc(0) },
  })
}
