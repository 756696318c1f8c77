import { readdirSync, writeFileSync } from 'node:fs'
import { createLogger } from '@flotilla/log'
import { status } from '@flotilla/rpc'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { native } from './driver.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const logger = createLogger({ level: 'fatal', name: 'test' })
const signal = new AbortController().signal
let world: TempWorld
let root: string

beforeEach(async () => {
  world = await tempWorld({ name: 'native', tmpfs: true })
  root = world.join('root')
})
afterEach(() => world[Symbol.asyncDispose]())

const bind = (source: string, mode: string) => [{ type: 'bind', source, target: '', options: ['rbind', mode] }]

test('each mount is one bind: of the own tree, or for a view of the parent', async () => {
  await using driver = await native().open(root, logger)
  const make = async (readonly: boolean, parents: string[]) => {
    const request = { readonly, parents, labels: {}, namespace: 'n', key: 'k' }
    const id = await driver.create(request, signal)
    return { id, mounts: await driver.mounts({ ...request, id }) }
  }
  const path = (id: string) => `${root}/snapshots/${id}`
  const [base, empty] = [await make(false, []), await make(true, [])]
  expect(base.mounts).toEqual(bind(path(base.id), 'rw'))
  expect(empty.mounts).toEqual(bind(path(empty.id), 'ro'))
  const top = await make(false, [base.id])
  expect(top.mounts).toEqual(bind(path(top.id), 'rw'))
  const view = await make(true, [top.id, base.id])
  expect(view.mounts).toEqual(bind(path(top.id), 'ro'))
  // A view of a parent has no directory.
  expect(readdirSync(`${root}/snapshots`)).toEqual([base.id, empty.id, top.id])
  expect(driver.capabilities).toEqual([])
})

test('an abort, or a parent that is not there, leaves nothing', async () => {
  await using driver = await native().open(root, logger)
  const request = { readonly: false, parents: [] as string[], labels: {}, namespace: 'n', key: 'k' }
  const base = await driver.create(request, signal)
  for (let index = 0; index < 5_000; index++) writeFileSync(`${root}/snapshots/${base}/${index}`, 'x')
  const upon = (parent: string, by: AbortSignal) => driver.create({ ...request, parents: [parent] }, by)
  const cancel = new AbortController()
  const answer = upon(base, cancel.signal)
  setTimeout(() => cancel.abort(new Error('enough')))
  await expect(answer).rejects.toThrow('enough')
  await expect(upon('99', signal)).rejects.toMatchObject({ code: status.NOT_FOUND })
  expect(readdirSync(`${root}/snapshots`)).toEqual([base])
})
