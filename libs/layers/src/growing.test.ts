import { createHash, randomBytes } from 'node:crypto'
import { appendFileSync, closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { createLayerPool } from './index.ts'

const pool = createLayerPool({ workers: 1 })
afterAll(() => pool[Symbol.asyncDispose]())

let world: TempWorld
let fd: number
let path: string
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'growing' })
  path = world.join('data')
  writeFileSync(path, '')
  fd = openSync(path, 'r')
  mkdirSync(world.join('upper'))
})
afterEach(async () => {
  closeSync(fd)
  await world[Symbol.asyncDispose]()
})

const content = randomBytes(700_000)
const tar = await tarOf([
  { name: 'd/', type: 'directory' },
  { name: 'd/large', content },
  { name: 'small', content: 'small' },
])

const apply = (size: number, signal?: AbortSignal) =>
  pool.apply({
    source: { from: { fd, size }, compression: 'detect' },
    target: { kind: 'overlay', upper: world.join('upper'), lowers: [] },
    ...(signal === undefined ? {} : { signal }),
  })

it.each([
  ['none', tar],
  ['gzip', gzipSync(tar)],
  ['zstd', zstdCompressSync(tar)],
])('a layer is unpacked while its file is written, compression %s', async (_, bytes) => {
  const applied = apply(bytes.length)
  for (let at = 0; at < bytes.length; at += 100_000) {
    appendFileSync(path, bytes.subarray(at, at + 100_000))
    await sleep(5)
  }
  expect(await applied).toMatchObject({
    digest: `sha256:${createHash('sha256').update(tar).digest('hex')}`,
    size: tar.length,
  })
  expect(Object.keys(describeTree(world.join('upper')))).toEqual(['d', 'd/large', 'small'])
})

it('what comes before the end is on disk before the end', async () => {
  const applied = apply(tar.length)
  appendFileSync(path, tar.subarray(0, tar.length - 2048))
  for (;;) {
    const found = Object.keys(describeTree(world.join('upper')))
    if (found.includes('d/large')) break
    await sleep(5)
  }
  appendFileSync(path, tar.subarray(tar.length - 2048))
  await applied
})

it('a file that goes away before it is whole ends the job', async () => {
  appendFileSync(path, tar.subarray(0, 1000))
  const applied = apply(tar.length)
  rmSync(path)
  await expect(applied).rejects.toThrow(/^the file went away at 1000 of \d+ bytes$/)
})

it('an abort ends the wait for bytes', async () => {
  appendFileSync(path, tar.subarray(0, 1000))
  const cancel = new AbortController()
  const applied = apply(tar.length, cancel.signal)
  await sleep(20)
  cancel.abort(new Error('enough'))
  await expect(applied).rejects.toThrow('enough')
  // The thread is free again.
  writeFileSync(path, tar)
  await apply(tar.length)
})
