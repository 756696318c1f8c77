import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { chown } from 'node:fs/promises'
import { mountAll } from '@flotilla/linux'
import { createLogger } from '@flotilla/log'
import { status } from '@flotilla/rpc'
import type { SnapshotDriver } from '@flotilla/snapshot-driver'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { overlayfs } from './driver.ts'
import { kernelAtLeast } from './support.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const logger = createLogger({ level: 'fatal', name: 'test' })
const signal = new AbortController().signal
let world: TempWorld
let root: string
let driver: SnapshotDriver

beforeEach(async () => {
  world = await tempWorld({ name: 'overlayfs' })
  root = world.join('root')
  driver = await overlayfs().open(root, logger)
})
afterEach(async () => {
  await driver[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

type Labels = Record<string, string>

async function make(options: { readonly?: boolean; parents?: string[]; labels?: Labels } = {}) {
  const request = { readonly: false, parents: [], labels: {}, namespace: 'n', key: 'k', ...options }
  const id = await driver.create(request, signal)
  return { id, own: `${root}/snapshots/${id}/fs`, mounts: await driver.mounts({ ...request, id }) }
}
const overlay = (...options: string[]) => [{ type: 'overlay', source: 'overlay', target: '', options }]
const bind = (source: string, ...options: string[]) => [{ type: 'bind', source, target: '', options }]

describe('mounts', () => {
  test('of a tree from nothing is a bind', async () => {
    const active = await make()
    expect(active.mounts).toEqual(bind(active.own, 'rw', 'rbind'))
    const view = await make({ readonly: true })
    expect(view.mounts).toEqual(bind(view.own, 'ro', 'rbind'))
  })

  test('of a view of one parent is a bind of the parent', async () => {
    const parent = await make()
    const view = await make({ readonly: true, parents: [parent.id] })
    expect(view.mounts).toEqual(bind(parent.own, 'ro', 'rbind'))
  })

  test('upon parents is an overlay, nearest first', async () => {
    const [one, two] = [await make(), await make()]
    const active = await make({ parents: [two.id, one.id] })
    const lower = `lowerdir=${two.own}:${one.own}`
    const work = `workdir=${root}/snapshots/${active.id}/work`
    expect(active.mounts).toEqual(overlay(work, `upperdir=${active.own}`, lower, 'index=off'))
    const view = await make({ readonly: true, parents: [two.id, one.id] })
    expect(view.mounts).toEqual(overlay(lower, 'index=off'))
  })

  test('have configured options before index=off, which an index of the configuration replaces', async () => {
    const options = async (...mountOptions: string[]) => {
      driver = await overlayfs({ mountOptions }).open(root, logger)
      const parent = await make()
      return (await make({ parents: [parent.id] })).mounts[0]?.options.slice(3)
    }
    expect(await options('metacopy=on')).toEqual(['metacopy=on', 'index=off'])
    expect(await options('index=on', 'volatile')).toEqual(['index=on', 'volatile'])
  })

  test('of directories that are not there is NOT_FOUND', async () => {
    const { id } = await make()
    const request = { readonly: false, parents: [], labels: {}, namespace: 'n', key: 'k', name: 'c' }
    const missing = { code: status.NOT_FOUND, message: 'snapshot directory 999: not found' }
    await expect(driver.mounts({ ...request, id: '999' })).rejects.toMatchObject(missing)
    await expect(driver.mounts({ ...request, id, parents: ['999'] })).rejects.toMatchObject(missing)
    await expect(driver.create({ ...request, parents: [id, '999'] }, signal)).rejects.toMatchObject(missing)
    await expect(driver.usage({ ...request, id: '999' }, signal)).rejects.toMatchObject(missing)
    await expect(driver.commit({ ...request, id: '../1', rebased: false }, signal)).rejects.toMatchObject({
      code: status.NOT_FOUND,
    })
  })
})

describe('directories', () => {
  const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8)

  test('have the modes of containerd', async () => {
    const umask = process.umask(0o077)
    try {
      const active = await make()
      const place = `${root}/snapshots/${active.id}`
      expect(readdirSync(place)).toEqual(['fs', 'work'])
      expect([mode(place), mode(`${place}/fs`), mode(`${place}/work`)]).toEqual(['700', '755', '711'])
      const view = await make({ readonly: true })
      expect(readdirSync(`${root}/snapshots/${view.id}`)).toEqual(['fs'])
    } finally {
      process.umask(umask)
    }
  })

  test('have the owner of the nearest parent', async () => {
    const [one, two] = [await make(), await make()]
    await chown(one.own, 1, 2)
    await chown(two.own, 3, 4)
    const child = await make({ parents: [two.id, one.id] })
    expect(statSync(child.own)).toMatchObject({ uid: 3, gid: 4 })
  })
})

describe('id mappings', () => {
  const labels = (uids: string, gids: string) => ({
    'containerd.io/snapshot/uidmapping': uids,
    'containerd.io/snapshot/gidmapping': gids,
  })

  test('come first in the options, and their root owns the tree', async () => {
    const parent = await make()
    const mapped = { labels: labels('0:1000:1,1:200000:65536', '0:2000:65536') }
    const options = ['uidmap=0:1000:1,1:200000:65536', 'gidmap=0:2000:65536']
    const active = await make({ parents: [parent.id], ...mapped })
    expect(active.mounts[0]?.options.slice(0, 2)).toEqual(options)
    expect(statSync(active.own)).toMatchObject({ uid: 1000, gid: 2000 })
    expect((await make(mapped)).mounts[0]?.options).toEqual([...options, 'rw', 'rbind'])
  })

  test.each([
    ['0:1:2:3', '0:0:1'],
    ['a:b:c', '0:0:1'],
    ['0:0:0', '0:0:1'],
    ['1:1000:5', '0:0:1'],
    ['0:4294967295:1', '0:0:1'],
    ['0:0:1', ''],
    ['0:0:1', ','],
  ])('%j and %j make no sense', async (uids, gids) => {
    await expect(make({ labels: labels(uids, gids) })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    expect(readdirSync(`${root}/snapshots`)).toEqual([])
  })
})

describe('support', () => {
  test('says what the kernel can do', () => {
    expect(driver.capabilities).toEqual(['remap-ids', 'only-remap-ids', 'rebase'])
    expect(readdirSync(root)).not.toContain(expect.stringMatching(/^check-/))
  })

  test('is refused with the reason where overlays do not work', async () => {
    // The kernel takes no overlay as the upper directory of another.
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(world.join(name))
    const layers = ['lower', 'upper', 'work'].map((name) => `${name === 'work' ? name : name}dir=${world.join(name)}`)
    await mountAll(overlay(...layers), world.join('merged'))
    await expect(overlayfs().open(world.join('merged/root'), logger)).rejects.toThrow(/^overlayfs cannot be used at .*/)
    await expect(overlayfs().open(world.join('a:b'), logger)).rejects.toThrow('has a colon')
  })

  test('kernel versions are compared as numbers', () => {
    expect(kernelAtLeast(5, 19, '5.9.0')).toBe(false)
    expect(kernelAtLeast(5, 19, '5.19-rc1')).toBe(true)
    expect(kernelAtLeast(5, 19, '6.1.0-13-amd64')).toBe(true)
    expect(kernelAtLeast(5, 19, '4.20.1')).toBe(false)
  })
})
