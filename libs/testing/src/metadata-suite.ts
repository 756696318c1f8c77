import { Namespace } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { keyOf, leaseTable, type Metadata, type Plan, tables, updateRecord } from '@flotilla/metadata'
import { status } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { outboxOf } from './outbox.ts'

export { outboxOf, type WaitingEvent } from './outbox.ts'

/** A store to be examined. Everything that `open` gave is closed by the suite. */
export interface MetadataStoreUnderTest extends AsyncDisposable {
  /** One more connection to the same store; `origin` is the node that it writes as. */
  open(origin: string): Promise<Metadata>
}

const set = (table: string, field: string, value: Uint8Array | string = 'x') =>
  ({ op: 'set', table, field, value }) as const
const event = (topic: string) => ({ topic, typeUrl: 'some.Event', value: Buffer.from(topic) })
const topics = async (metadata: Metadata, namespace: string) =>
  (await outboxOf(metadata, namespace)).map(({ topic }) => topic)

/**
 * What every implementation of {@link Metadata} must do. Call it from a test file of the implementation:
 *
 *     metadataSuite('redis', async () => ({ open: (origin) => createMetadata({ url, origin }), ... }))
 */
export function metadataSuite(name: string, start: () => Promise<MetadataStoreUnderTest>): void {
  describe(`metadata store: ${name}`, () => {
    let store: MetadataStoreUnderTest
    let one: Metadata
    let two: Metadata
    let made = 0
    /** A namespace nobody has used yet. */
    const fresh = () => `ns-${++made}`

    beforeAll(async () => {
      store = await start()
      one = await store.open('node-1')
      two = await store.open('node-2')
    })

    afterAll(async () => {
      await one?.[Symbol.asyncDispose]()
      await two?.[Symbol.asyncDispose]()
      await store?.[Symbol.asyncDispose]()
    })

    describe('reading', () => {
      test('what is not there is undefined, empty, or zero', async () => {
        const ns = fresh()
        expect(await one.get(ns, 't', 'f')).toBeUndefined()
        expect(await one.getMany(ns, 't', ['f', 'g'])).toEqual([undefined, undefined])
        expect(await one.getMany(ns, 't', [])).toEqual([])
        expect(await one.all(ns, 't')).toEqual([])
        expect(await one.members(ns, 't')).toEqual([])
        expect(await one.size(ns, 't')).toBe(0)
        for await (const _ of one.scan(ns, 't')) throw new Error('a table that is not there was scanned')
      })

      test('values come back byte for byte, from every connection', async () => {
        const ns = fresh()
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
        await one.transact(ns, { writes: [set('t', 'f', bytes), set('t', 'empty', '')] })
        expect(await two.get(ns, 't', 'f')).toEqual(bytes)
        expect(await two.getMany(ns, 't', ['empty', 'none', 'f'])).toEqual([Buffer.alloc(0), undefined, bytes])
      })

      test('fields may be any text', async () => {
        const ns = fresh()
        const field = ' -a/b:é\n\0{x}'
        await one.transact(ns, { writes: [set('t', field, 'v')] })
        expect(await one.all(ns, 't')).toEqual([[field, Buffer.from('v')]])
      })

      test('tables and members come in byte order', async () => {
        const ns = fresh()
        const names = ['b', 'a', 'B', 'ä', 'a b', 'a-', '\u{1F600}', '\uFFFD']
        await one.transact(ns, { writes: names.map((field) => set('hash', field)) })
        await one.transact(ns, { writes: names.map((field) => ({ op: 'add', table: 'set', field })) })
        const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        expect((await one.all(ns, 'hash')).map(([field]) => field)).toEqual(sorted)
        expect(await one.members(ns, 'set')).toEqual(sorted)
      })

      test('a scan gives every record', async () => {
        const ns = fresh()
        const fields = Array.from({ length: 2_000 }, (_, i) => `f${i}`)
        await one.transact(ns, { writes: fields.map((field) => set('t', field, `value of ${field}`)) })
        const seen = new Map<string, string>()
        for await (const rows of one.scan(ns, 't', 100)) for (const [field, value] of rows) seen.set(field, `${value}`)
        expect(seen.size).toBe(2_000)
        expect(seen.get('f7')).toBe('value of f7')
        expect(await one.size(ns, 't')).toBe(2_000)
      })

      test('namespaces do not see each other', async () => {
        const [a, b] = [fresh(), fresh()]
        await one.transact(a, { writes: [set('t', 'f')] })
        expect(await one.get(b, 't', 'f')).toBeUndefined()
      })
    })

    describe('writing', () => {
      test('sets, deletes, drops', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set('t', 'a'), set('t', 'b'), set('u', 'c')] })
        await one.transact(ns, {
          writes: [
            { op: 'delete', table: 't', field: 'a' },
            { op: 'drop', table: 'u' },
          ],
        })
        expect((await one.all(ns, 't')).map(([field]) => field)).toEqual(['b'])
        expect(await one.size(ns, 'u')).toBe(0)
      })

      test('adds to sets and takes away from them', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: ['a', 'b', 'a'].map((field) => ({ op: 'add', table: 's', field })) })
        await one.transact(ns, { writes: [{ op: 'remove', table: 's', field: 'a' }] })
        expect(await one.members(ns, 's')).toEqual(['b'])
        expect(await one.size(ns, 's')).toBe(1)
      })

      test('a counter at zero is gone', async () => {
        const ns = fresh()
        const by = (amount: number) =>
          one.transact(ns, { writes: [{ op: 'increment', table: 'c', field: 'n', by: amount }] })
        await by(2)
        await by(-1)
        expect(`${await one.get(ns, 'c', 'n')}`).toBe('1')
        await by(-1)
        expect(await one.get(ns, 'c', 'n')).toBeUndefined()
      })

      test('a table can be given an end', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set('t', 'f'), { op: 'expire', table: 't', ms: 60_000 }] })
        expect(await one.redis.pttl(keyOf(ns, 't'))).toBeGreaterThan(0)
      })

      test('writes of one change are made in order', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set('t', 'f', '1'), { op: 'drop', table: 't' }, set('t', 'f', '2')] })
        expect(`${await one.get(ns, 't', 'f')}`).toBe('2')
      })
    })

    describe('checks', () => {
      const filled: Plan = { writes: [set('t', 'f', 'v'), { op: 'add', table: 's', field: 'm' }] }

      test.each([
        ['absent', { is: 'absent', table: 't', field: 'g' }, { is: 'absent', table: 't', field: 'f' }],
        ['present', { is: 'present', table: 't', field: 'f' }, { is: 'present', table: 't', field: 'g' }],
        [
          'equals',
          { is: 'equals', table: 't', field: 'f', value: Buffer.from('v') },
          { is: 'equals', table: 't', field: 'f', value: 'w' },
        ],
        ['empty', { is: 'empty', table: 'e' }, { is: 'empty', table: 't' }],
        ['member', { is: 'member', table: 's', field: 'm' }, { is: 'member', table: 's', field: 'n' }],
      ] as const)('%s holds or refuses', async (_, holding, failing) => {
        const ns = fresh()
        await one.transact(ns, filled)
        expect(await one.transact(ns, { checks: [holding], writes: [set('done', 'x')] })).toEqual({ ok: true })
        const refused = await one.transact(ns, { checks: [holding, failing], writes: [set('done', 'y')] })
        expect(refused).toMatchObject({ ok: false, check: 1 })
        expect((await one.all(ns, 'done')).map(([field]) => field)).toEqual(['x'])
      })

      test('the first that does not hold is named, with what was found', async () => {
        const ns = fresh()
        await one.transact(ns, filled)
        const outcome = await one.transact(ns, {
          checks: [
            { is: 'present', table: 't', field: 'f' },
            { is: 'equals', table: 't', field: 'f', value: 'other' },
            { is: 'absent', table: 't', field: 'f' },
          ],
        })
        expect(outcome).toEqual({ ok: false, check: 1, current: Buffer.from('v') })
      })

      test('an absent field does not equal the empty value', async () => {
        const ns = fresh()
        const outcome = await one.transact(ns, { checks: [{ is: 'equals', table: 't', field: 'f', value: '' }] })
        expect(outcome).toEqual({ ok: false, check: 0, current: undefined })
      })

      test('a refused change leaves nothing at all', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set(tables.leases, 'L')], createsNamespace: false })
        await one.redis.hset(keyOf(ns, tables.gcRun), 'id', '1')
        const before = await one.all(ns, tables.gcCounters)
        const outcome = await one.transact(ns, {
          checks: [{ is: 'present', table: 't', field: 'f' }],
          writes: [set('t', 'f'), { op: 'add', table: 's', field: 'm' }],
          lease: { id: 'L', add: [{ type: 'images', id: 'i' }] },
          events: [event('/a')],
          touches: [{ type: 'images', id: 'i' }],
          deletions: 1,
        })
        expect(outcome.ok).toBe(false)
        for (const table of ['t', 's', leaseTable('L'), tables.outbox, tables.gcDirty, tables.namespace])
          expect(await one.redis.exists(keyOf(ns, table)), table).toBe(0)
        expect(await one.all(ns, tables.gcCounters)).toEqual(before)
      })
    })

    describe('races', () => {
      test('fifty creations of one record from two connections: one succeeds', async () => {
        const ns = fresh()
        const outcomes = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            (i % 2 ? one : two).transact(ns, {
              checks: [{ is: 'absent', table: 't', field: 'f' }],
              writes: [set('t', 'f', String(i))],
              events: [event(`/won/${i}`)],
            }),
          ),
        )
        const winner = outcomes.findIndex(({ ok }) => ok)
        expect(outcomes.filter(({ ok }) => ok)).toHaveLength(1)
        expect(`${await one.get(ns, 't', 'f')}`).toBe(String(winner))
        expect(await topics(one, ns)).toEqual([`/won/${winner}`])
      })

      test('a hundred updates of one record from two connections all land', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set('t', 'f', Namespace.encode({ name: 'n', labels: {} }).finish())] })
        await Promise.all(
          Array.from({ length: 100 }, (_, i) =>
            updateRecord(i % 2 ? one : two, {
              namespace: ns,
              table: 't',
              field: 'f',
              type: Namespace,
              missing: () => new Error('gone'),
              change: (stored) => ({ ...stored, labels: { ...stored.labels, [`k${i}`]: 'v' } }),
              plan: () => ({ events: [event(`/${i}`)] }),
            }),
          ),
        )
        const stored = Namespace.decode((await one.get(ns, 't', 'f')) ?? Buffer.alloc(0))
        expect(Object.keys(stored.labels)).toHaveLength(100)
        expect(new Set(await topics(one, ns)).size).toBe(100)
      })

      test('an update of what is gone says so, and one that refuses changes nothing', async () => {
        const ns = fresh()
        const update = (change: (stored: Namespace) => Namespace) =>
          updateRecord(one, {
            namespace: ns,
            table: 't',
            field: 'f',
            type: Namespace,
            missing: () => new Error('gone'),
            change,
          })
        await expect(update((stored) => stored)).rejects.toThrow('gone')
        await one.transact(ns, { writes: [set('t', 'f', '')] })
        const refuse = () => {
          throw new Error('no')
        }
        await expect(update(refuse)).rejects.toThrow('no')
        expect(await one.get(ns, 't', 'f')).toEqual(Buffer.alloc(0))
      })
    })

    describe('leases', () => {
      const image = { type: 'images', id: 'docker.io/a:1' }
      const member = 'images\0docker.io/a:1'

      test('what joins and leaves one', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set(tables.leases, 'L')] })
        await one.transact(ns, { lease: { id: 'L', add: [image, { type: 'content', id: 'sha256:x' }] } })
        expect(await one.members(ns, leaseTable('L'))).toEqual(['content\0sha256:x', member])
        await one.transact(ns, { lease: { id: 'L', remove: [image, { type: 'content', id: 'never there' }] } })
        expect(await one.members(ns, leaseTable('L'))).toEqual(['content\0sha256:x'])
      })

      test('joining an unknown one refuses the whole change', async () => {
        const ns = fresh()
        const change = one.transact(ns, {
          writes: [set('t', 'f')],
          events: [event('/a')],
          lease: { id: 'none', add: [image] },
        })
        await expect(change).rejects.toMatchObject({
          code: status.NOT_FOUND,
          message: 'lease does not exist: not found',
        })
        expect(await one.size(ns, 't')).toBe(0)
        expect(await topics(one, ns)).toEqual([])
        expect(await one.size(ns, leaseTable('none'))).toBe(0)
      })

      test('a check that does not hold comes before an unknown lease', async () => {
        const outcome = await one.transact(fresh(), {
          checks: [{ is: 'present', table: 't', field: 'f' }],
          lease: { id: 'none', add: [image] },
        })
        expect(outcome).toMatchObject({ ok: false, check: 0 })
      })

      test('leaving an unknown one is no error', async () => {
        const ns = fresh()
        const outcome = await one.transact(ns, { writes: [set('t', 'f')], lease: { id: 'none', remove: [image] } })
        expect(outcome).toEqual({ ok: true })
        expect(await one.size(ns, 't')).toBe(1)
      })
    })

    describe('outbox', () => {
      test('events come in the order of the changes and within a change', async () => {
        const ns = fresh()
        await one.transact(ns, { events: [event('/a'), event('/b')] })
        await two.transact(ns, { events: [event('/c')] })
        await one.transact(ns, { events: [event('/d')] })
        expect(await topics(one, ns)).toEqual(['/a', '/b', '/c', '/d'])
      })

      test('an event says what, when and where', async () => {
        const ns = fresh()
        await one.transact(ns, { events: [event('/default')] })
        await one.transact(ns, {
          events: [{ ...event('/given'), time: { seconds: 12, nanos: 34 }, node: 'node-9' }],
        })
        const [first, second] = await outboxOf(one, ns)
        expect(first).toMatchObject({ topic: '/default', type: 'some.Event', node: 'node-1' })
        expect(first?.value).toEqual(Buffer.from('/default'))
        expect(second).toMatchObject({ topic: '/given', time: '12.34', node: 'node-9' })
      })

      test('writers at once: every event once, each writer in its own order', async () => {
        const ns = fresh()
        const write = async (metadata: Metadata, who: string) => {
          for (let i = 0; i < 100; i++) await metadata.transact(ns, { events: [event(`/${who}/${i}`)] })
        }
        await Promise.all([write(one, 'one'), write(two, 'two'), write(one, 'three')])
        const all = await topics(one, ns)
        expect(all).toHaveLength(300)
        for (const who of ['one', 'two', 'three'])
          expect(all.filter((topic) => topic.startsWith(`/${who}/`))).toEqual(
            Array.from({ length: 100 }, (_, i) => `/${who}/${i}`),
          )
      })
    })

    describe('event journals of nodes', () => {
      const journalled = (node: string, sequence: number) => ({ ...event(`/${node}/${sequence}`), node, sequence })

      test('a position is taken once; each node has its own', async () => {
        const ns = fresh()
        for (const [node, sequence] of [
          ['n1', 1],
          ['n1', 2],
          ['n1', 2],
          ['n1', 1],
          ['n2', 1],
          ['n1', 10],
          ['n1', 9],
        ] as const)
          expect(await one.transact(ns, { events: [journalled(node, sequence)] })).toEqual({ ok: true })
        expect(await topics(one, ns)).toEqual(['/n1/1', '/n1/2', '/n2/1', '/n1/10'])
      })

      test('the same event sent by two at once comes once', async () => {
        const ns = fresh()
        await Promise.all([one, two, one, two].map((by) => by.transact(ns, { events: [journalled('n1', 1)] })))
        expect(await topics(one, ns)).toEqual(['/n1/1'])
      })

      test('a repeat drops its event, not its writes', async () => {
        const ns = fresh()
        await one.transact(ns, { events: [journalled('n1', 1)] })
        await one.transact(ns, { writes: [set('t', 'f')], events: [journalled('n1', 1), event('/other')] })
        expect(await one.size(ns, 't')).toBe(1)
        expect(await topics(one, ns)).toEqual(['/n1/1', '/other'])
      })
    })

    describe('the collector’s write barrier', () => {
      const dirty = (ns: string) => one.redis.lrange(keyOf(ns, tables.gcDirty), 0, -1)
      const plan: Plan = {
        writes: [set('t', 'f')],
        touches: [{ type: 'content', id: 'sha256:x' }],
        lease: { id: 'L', add: [{ type: 'images', id: 'i' }], remove: [{ type: 'images', id: 'j' }] },
      }

      test('notes nothing while nothing is collected', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set(tables.leases, 'L')] })
        await one.transact(ns, plan)
        expect(await dirty(ns)).toEqual([])
      })

      test('notes what was touched and what joined a lease while a collection runs', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set(tables.leases, 'L')] })
        await one.redis.hset(keyOf(ns, tables.gcRun), 'id', '1')
        await one.transact(ns, plan)
        expect((await dirty(ns)).toSorted()).toEqual(['content\0sha256:x', 'images\0i'])
        await one.redis.del(keyOf(ns, tables.gcRun), keyOf(ns, tables.gcDirty))
        await one.transact(ns, plan)
        expect(await dirty(ns)).toEqual([])
      })

      test('changes and deletions are counted', async () => {
        const ns = fresh()
        expect(await one.mutations(ns)).toBe(0)
        await one.transact(ns, { writes: [set('t', 'f')] })
        await one.transact(ns, { checks: [{ is: 'absent', table: 't', field: 'f' }], writes: [set('t', 'g')] })
        expect(await one.mutations(ns)).toBe(1)
        await one.transact(ns, { writes: [{ op: 'delete', table: 't', field: 'f' }], deletions: 2 })
        const counted = Object.fromEntries((await one.all(ns, tables.gcCounters)).map(([k, v]) => [k, Number(v)]))
        expect(counted).toEqual({ mutations: 2, deletions: 2 })
      })
    })

    describe('namespaces', () => {
      const record = async (ns: string) => {
        const bytes = await one.get(ns, tables.namespace, 'record')
        return bytes && Namespace.decode(bytes)
      }

      test('the first write makes the record, later ones leave it alone', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [set('t', 'f')] })
        expect(await record(ns)).toEqual({ name: ns, labels: {} })
        const labelled = Namespace.encode({ name: ns, labels: { a: '1' } }).finish()
        await one.transact(ns, { writes: [set(tables.namespace, 'record', labelled)] })
        await one.transact(ns, { writes: [set('t', 'g')] })
        expect(await record(ns)).toEqual({ name: ns, labels: { a: '1' } })
      })

      test('deletions and events make none, unless it is said', async () => {
        const ns = fresh()
        await one.transact(ns, { writes: [{ op: 'delete', table: 't', field: 'f' }], events: [event('/a')] })
        expect(await record(ns)).toBeUndefined()
        await one.transact(ns, { writes: [set('t', 'f')], createsNamespace: false })
        expect(await record(ns)).toBeUndefined()
        await one.transact(ns, { createsNamespace: true })
        expect(await record(ns)).toEqual({ name: ns, labels: {} })
      })

      test('the names that were written to are known, in byte order', async () => {
        const names = ['zz', 'Zz', 'a.b'].map((suffix) => `${suffix}-${fresh()}`)
        await Promise.all(names.map((ns) => two.transact(ns, { writes: [set('t', 'f')] })))
        const known = await one.namespaceNames()
        expect(known.filter((ns) => names.includes(ns))).toEqual([names[1], names[2], names[0]])
      })
    })
  })
}
