import { Sandbox } from '@flotilla/api/containerd/types/types'
import { createMetadata, type Metadata } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { startRedis, type TestRedis } from '@flotilla/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createSandboxStore } from './store.ts'

type Partial = Parameters<typeof Sandbox.fromPartial>[0]

let redis: TestRedis
let metadata: Metadata
let store: ReturnType<typeof createSandboxStore>
let namespace: string
let made = 0

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  store = createSandboxStore({ metadata, nodeName: 'n1' })
})
afterAll(async () => {
  await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  namespace = `ns-${++made}`
})

const call = (headers: Record<string, string> = {}) => makeCall({ namespace, metadata: headers })
const full = {
  sandboxId: 's1',
  runtime: { name: 'io.containerd.runc.v2' },
  labels: { a: '1' },
  spec: { typeUrl: 't', value: Buffer.from('{}') },
  extensions: { e: { typeUrl: 'x', value: Buffer.from('e') } },
  sandboxer: 'shim',
}
const create = (sandbox: Partial = full, by = call()) => store.create({ sandbox: Sandbox.fromPartial(sandbox) }, by)
const update = (sandbox: Partial, ...fields: string[]) =>
  store.update({ sandbox: Sandbox.fromPartial(sandbox), fields }, call())
const list = async (...filters: string[]) => (await store.list({ filters }, call())).list.map((one) => one.sandboxId)

describe('sandbox records', () => {
  test('are stored whole, with the server’s time and the node', async () => {
    const { sandbox } = await create({ ...full, labels: { a: '1', none: '' } })
    const { createdAt, updatedAt, ...rest } = sandbox!
    expect(rest).toEqual({
      ...full,
      runtime: { ...full.runtime, options: undefined },
      labels: { a: '1', 'flotilla.io/node': 'n1' },
    })
    expect(createdAt?.seconds).toBeGreaterThan(1_600_000_000)
    expect(updatedAt).toEqual(createdAt)
    expect((await store.get({ sandboxId: 's1' }, call())).sandbox).toEqual(sandbox)
  })

  test('are on the node whose socket they came through', async () => {
    const { sandbox } = await create(full, call({ 'flotilla-node': 'n2' }))
    expect(sandbox!.labels['flotilla.io/node']).toBe('n2')
  })

  test('fifty at once: one wins', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => create()))
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    await expect(create()).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
  })

  test('are listed in byte order, by filters', async () => {
    for (const sandboxId of ['b', 'B', 'a-1']) await create({ ...full, sandboxId, labels: { is: sandboxId } })
    expect(await list()).toEqual(['B', 'a-1', 'b'])
    expect(await list('id==b', 'labels.is==B')).toEqual(['B', 'b'])
    await expect(list('id==/x')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  test('change only in the fields that are named', async () => {
    await create()
    const changed = async (fields: string[], sandbox: Partial) =>
      (await update({ sandboxId: 's1', ...sandbox }, ...fields)).sandbox!
    expect((await changed(['labels.b'], { labels: { b: '2' } })).labels).toEqual({
      a: '1',
      b: '2',
      'flotilla.io/node': 'n1',
    })
    expect((await changed(['labels'], { labels: {} })).labels).toEqual({ 'flotilla.io/node': 'n1' })
    expect((await changed(['extensions.e'], {})).extensions).toEqual({})
    expect((await changed(['runtime'], { runtime: { name: 'other' } })).runtime?.name).toBe('other')
    expect((await changed([], { runtime: { name: 'other' } })).spec).toBeUndefined()
    const refused = { code: status.INVALID_ARGUMENT }
    await expect(update({ sandboxId: 's1' }, 'sandboxer')).rejects.toMatchObject(refused)
    await expect(update({ sandboxId: 's1', runtime: { name: 'third' } })).rejects.toMatchObject(refused)
  })

  test('that are not there are NOT_FOUND', async () => {
    const absent = { code: status.NOT_FOUND }
    await expect(store.get({ sandboxId: 'x' }, call())).rejects.toMatchObject(absent)
    await expect(update({ sandboxId: 'x' })).rejects.toMatchObject(absent)
    await expect(store.delete({ sandboxId: 'x' }, call())).rejects.toMatchObject(absent)
    await create()
    await store.delete({ sandboxId: 's1' }, call())
    expect(await list()).toEqual([])
  })

  test.each(['', 'a b', 'a/b'])('refuse the id %j', async (sandboxId) => {
    await expect(create({ ...full, sandboxId })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
})
