import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { withTempMount } from '@flotilla/linux'
import { createLogger } from '@flotilla/log'
import { status } from '@flotilla/rpc'
import type { Directory, SnapshotDriver } from '@flotilla/snapshot-driver'
import { hasThinPools, startThinPool, type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { devmapper } from './index.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const signal = new AbortController().signal
const logger = createLogger({ level: 'fatal', name: 'test' })
const from = (parents: string[]) => ({ readonly: false, parents, labels: {}, namespace: 'n', key: 'k' })
const directory = (id: string): Directory => ({ id, readonly: false, parents: [], labels: {} })

let world: TempWorld
beforeEach(async () => {
  world = await tempWorld({ name: 'devmapper' })
})
afterEach(() => world[Symbol.asyncDispose]())

const kindFor = (poolName: string) =>
  devmapper({
    poolName,
    rootPath: '',
    baseImageSize: 64 << 20,
    fileSystem: 'ext4',
    fileSystemOptions: ['-N', '2048', '-E', 'nodiscard,lazy_itable_init=1'],
    asyncRemove: false,
    discardBlocks: false,
  })
const open = async (poolName: string, root = 'root') =>
  world.own(await kindFor(poolName).open(world.join(root), logger))

test('without a pool it says what is missing', async () => {
  await expect(open('')).rejects.toThrow('no thin pool is configured (devmapper.pool_name)')
  const missing = hasThinPools() ? 'thin pool flotilla-none: not found' : 'the kernel has no device mapper'
  await expect(open('flotilla-none')).rejects.toThrow(missing)
})

// Needs the kernel's device mapper with thin pools, dmsetup and loop devices: see tools/virtual-machine.
describe.skipIf(!hasThinPools())('in a pool', () => {
  const message = (pool: string, text: string) => execFileSync('dmsetup', ['message', pool, '0', text])
  const commit = (driver: SnapshotDriver, id: string) =>
    driver.commit({ ...directory(id), name: 'n', rebased: false }, signal)

  test('numbers that are taken are passed over, a pool with what others wrote is refused', async () => {
    const pool = await startThinPool(world)
    for (const thin of [1, 2, 3]) message(pool.name, `create_thin ${thin}`)
    const driver = await open(pool.name)
    const id = await driver.create(from([]), signal)
    const [mount] = await driver.mounts(directory(id))
    expect(mount).toMatchObject({ type: 'ext4', source: `/dev/mapper/${pool.name}-snap-4`, options: ['rw'] })
    await expect(open(pool.name, 'other')).rejects.toThrow('has devices that are not of')
    await driver.remove([id])
    expect(await pool.devices(4)).toEqual([1, 2, 3])
  })

  test('what is mounted is neither committed nor removed, and is there afterwards', async () => {
    const pool = await startThinPool(world)
    const driver = await open(pool.name)
    const id = await driver.create(from([]), signal)
    const inUse = { code: status.FAILED_PRECONDITION, message: 'thin device 1 is in use: failed precondition' }
    await withTempMount(await driver.mounts(directory(id)), {}, async (root) => {
      expect(readdirSync(root)).toEqual([])
      await expect(commit(driver, id)).rejects.toMatchObject(inUse)
      await expect(driver.remove([id])).rejects.toMatchObject(inUse)
    })
    expect(await driver.ids(-1)).toEqual([id])
    await commit(driver, id)
    await driver.remove([id])
    expect(await driver.ids(-1)).toEqual([])
    expect(await pool.devices(64)).toEqual([])
  })

  test('a path that is gone, as after a reboot, is given again', async () => {
    const pool = await startThinPool(world)
    const driver = await open(pool.name)
    const id = await driver.create(from([]), signal)
    const mounts = await driver.mounts(directory(id))
    await commit(driver, id)
    expect(existsSync(mounts[0]?.source ?? '')).toBe(false)
    expect(await driver.mounts(directory(id))).toEqual(mounts)
    await withTempMount(mounts, {}, async () => {})
  })

  test('a device that the pool has lost is not found, and can be removed', async () => {
    const pool = await startThinPool(world)
    const driver = await open(pool.name)
    const id = await driver.create(from([]), signal)
    await commit(driver, id)
    message(pool.name, 'delete 1')
    await expect(driver.mounts(directory(id))).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(driver.create(from([id]), signal)).rejects.toMatchObject({ code: status.NOT_FOUND })
    await driver.remove([id])
    expect(await driver.ids(-1)).toEqual([])
  })

  test('a full pool takes nothing more until something is removed', async () => {
    const pool = await startThinPool(world, 32 << 20)
    const driver = await open(pool.name)
    const id = await driver.create(from([]), signal)
    const [{ source = '' } = {}] = await driver.mounts(directory(id))
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${source}`, 'bs=1M', 'oflag=direct'])).toThrow('No space')
    await expect(driver.create(from([]), signal)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      message: expect.stringContaining(`thin pool ${pool.name} is full`),
    })
    await driver.remove([id])
    await driver.create(from([]), signal)
  })

  test('an abort leaves neither a directory nor a device', async () => {
    const pool = await startThinPool(world)
    const driver = await open(pool.name)
    const cancel = new AbortController()
    const made = driver.create(from([]), cancel.signal)
    cancel.abort(new Error('enough'))
    await expect(made).rejects.toThrow('enough')
    expect(readdirSync(world.join('root/snapshots'))).toEqual([])
    expect(await pool.devices(64)).toEqual([])
  })
})
