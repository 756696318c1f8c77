import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mountAll, unmountAll } from '@flotilla/linux'
import { createLogger } from '@flotilla/log'
import { status } from '@flotilla/rpc'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { erofs } from './index.ts'

const present =
  readFileSync('/proc/filesystems', 'utf8').includes('\terofs\n') &&
  spawnSync('mkfs.erofs', ['--help']).error === undefined
const { signal } = new AbortController()
const logger = createLogger({ level: 'fatal', name: 'erofs' })
const asked = { readonly: false, labels: {}, namespace: 'test', key: 'k' }

describe.skipIf(!present)('layers in images', () => {
  let world: TempWorld
  beforeEach(async () => {
    world = await tempWorld({ name: 'erofs' })
    world.cleanup(() => unmountAll(world.join('root')))
  })
  afterEach(() => world[Symbol.asyncDispose]())

  const open = () => erofs().open(world.join('root'), logger)
  const at = (id: string, name: string) => world.join('root', 'snapshots', id, name)
  const about = (id: string, ...parents: string[]) => ({ id, parents, readonly: false, labels: {} })

  test('are mounted again after a reboot, and the tree that they were made from goes with the first child', async () => {
    await using driver = await open()
    const base = await driver.create({ ...asked, parents: [] }, signal)
    writeFileSync(`${at(base, 'fs')}/f`, 'below')
    await driver.commit({ ...about(base), name: 'n', rebased: false }, signal)
    // The service may fail to record it and go on writing.
    writeFileSync(`${at(base, 'fs')}/f`, 'below, again')
    await driver.commit({ ...about(base), name: 'n', rebased: false }, signal)
    expect(existsSync(at(base, 'fs'))).toBe(true)
    const child = await driver.create({ ...asked, parents: [base] }, signal)
    expect(existsSync(at(base, 'fs'))).toBe(false)

    await unmountAll(world.join('root'))
    await using again = await open()
    const mounts = await again.mounts(about(child, base))
    await mountAll(mounts, world.join('root', 'lower'))
    expect(readFileSync(world.join('root', 'lower', 'f'), 'utf8')).toBe('below, again')
    await unmountAll(world.join('root', 'lower'))
    await again.remove([child, base])
    expect(existsSync(at(base, 'layer.erofs'))).toBe(false)
  })

  test('cannot be made anew once others build upon them', async () => {
    await using driver = await open()
    const base = await driver.create({ ...asked, parents: [] }, signal)
    const commit = () => driver.commit({ ...about(base), name: 'n', rebased: false }, signal)
    await commit()
    await driver.create({ ...asked, parents: [base] }, signal)
    const before = readFileSync(at(base, 'layer.erofs'))
    await expect(commit()).rejects.toMatchObject({ code: status.NOT_FOUND })
    expect(readFileSync(at(base, 'layer.erofs')).equals(before)).toBe(true)
  })

  test('are needed by what is made upon them', async () => {
    await using driver = await open()
    const base = await driver.create({ ...asked, parents: [] }, signal)
    await expect(driver.create({ ...asked, parents: [base] }, signal)).rejects.toMatchObject({ code: status.NOT_FOUND })
  })
})
