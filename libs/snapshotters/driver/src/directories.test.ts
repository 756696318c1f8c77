import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { mountAll, unmountAll } from '@flotilla/linux'
import { createLogger } from '@flotilla/log'
import { status } from '@flotilla/rpc'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openDirectories } from './directories.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const logger = createLogger({ level: 'fatal', name: 'test' })
let world: TempWorld
let root: string

beforeEach(async () => {
  world = await tempWorld({ name: 'directories' })
  root = world.join('root')
})
afterEach(() => world[Symbol.asyncDispose]())

const open = () => openDirectories(root, logger)
const nothing = async () => {}

test('ids are decimal numbers that never come again, not after a removal, not after a restart', async () => {
  const first = await open()
  const ids = [await first.create(nothing), await first.unused(), await first.create(nothing)]
  expect(ids).toEqual(['1', '2', '3'])
  await first.remove(['1', '3'])
  expect(readdirSync(`${root}/snapshots`)).toEqual([])
  for (let restart = 0; restart < 3; restart++) {
    const again = await open()
    ids.push(await again.create(nothing))
    await again.remove(ids)
  }
  for (let index = 1; index < ids.length; index++) expect(Number(ids[index])).toBeGreaterThan(Number(ids[index - 1]))
})

test('two hundred made at once have two hundred ids', async () => {
  const directories = await open()
  const ids = await Promise.all(Array.from({ length: 200 }, () => directories.create(nothing)))
  expect(new Set(ids).size).toBe(200)
  expect(readdirSync(`${root}/snapshots`).sort()).toEqual(ids.sort())
})

test('a counter that was lost goes on after the highest directory, one that cannot be read is an error', async () => {
  const directories = await open()
  mkdirSync(directories.path('4711'))
  rmSync(`${root}/last-id`, { force: true })
  expect(await (await open()).create(nothing)).toBe('4712')
  writeFileSync(`${root}/last-id`, '')
  await expect(open()).rejects.toThrow('last-id does not hold a number')
})

test('a directory that could not be filled is not there', async () => {
  const directories = await open()
  const fail = async (directory: string) => {
    writeFileSync(`${directory}/f`, '')
    throw new Error('disk full')
  }
  await expect(directories.create(fail)).rejects.toThrow('disk full')
  expect(readdirSync(`${root}/snapshots`)).toEqual([])
})

test('what was left half made or half removed is cleared away at the next start', async () => {
  await open()
  for (const name of ['new-aBcDeF', 'rm-7', '8']) mkdirSync(`${root}/snapshots/${name}/deep/er`, { recursive: true })
  const directories = await open()
  await directories[Symbol.asyncDispose]()
  expect(readdirSync(`${root}/snapshots`)).toEqual(['8'])
})

test('the directories are for root alone, whatever the umask', async () => {
  const umask = process.umask(0)
  try {
    await open()
  } finally {
    process.umask(umask)
  }
  for (const path of [root, `${root}/snapshots`]) expect(statSync(path).mode & 0o777).toBe(0o700)
})

test('age is counted from the making, and cannot be set by who writes into it', async () => {
  const directories = await open()
  const id = await directories.create(nothing)
  expect(await directories.ids(60_000)).toEqual([])
  utimesSync(directories.path(id), 0, 0)
  expect(await directories.ids(60_000)).toEqual([])
  await sleep(50)
  expect(await directories.ids(20)).toEqual([id])
})

test('removing leaves what is no id alone, and does not mind what is not there', async () => {
  const directories = await open()
  writeFileSync(`${root}/snapshots/file`, '')
  mkdirSync(world.join('outside'))
  await directories.remove(['../../outside', '..', '', 'file', '12', '1/..'])
  expect(existsSync(world.join('outside'))).toBe(true)
  expect(readdirSync(`${root}/snapshots`)).toEqual(['file'])
})

test('a directory in which something is mounted is not removed, nor what is mounted; the others are', async () => {
  const directories = await open()
  const fill = async (directory: string) => mkdirSync(`${directory}/fs`)
  const ids = [await directories.create(fill), await directories.create(fill), await directories.create(fill)]
  mkdirSync(world.join('precious'))
  writeFileSync(world.join('precious/file'), '')
  const place = `${directories.path('2')}/fs`
  await mountAll([{ type: 'bind', source: world.join('precious'), target: '', options: ['rbind', 'rw'] }], place)
  await expect(directories.remove(ids)).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    message: 'something is mounted in snapshot directory 2: failed precondition',
  })
  expect(existsSync(world.join('precious/file'))).toBe(true)
  expect(readdirSync(`${root}/snapshots`)).toEqual(['2'])
  await unmountAll(place)
  await directories.remove(ids)
  expect(readdirSync(`${root}/snapshots`)).toEqual([])
})

test('ids that are not there are named', async () => {
  const directories = await open()
  const id = await directories.create(nothing)
  directories.require([id])
  for (const bad of ['99', '..', ''])
    expect(() => directories.require([id, bad])).toThrow(`snapshot directory ${bad}: not found`)
})
