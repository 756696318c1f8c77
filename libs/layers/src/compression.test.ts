import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openLayer } from './compression.ts'

let world: TempWorld
let fd: number
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'compression' })
})
afterEach(async () => {
  closeSync(fd)
  await world[Symbol.asyncDispose]()
})

const MiB = 2 ** 20

/** Noise and, twice as much, what can be guessed, as in programs; no two MiB are the same. */
const plain = Buffer.concat(
  Array.from({ length: 64 }, (_, at) => Buffer.concat([randomBytes(MiB / 3), Buffer.alloc((2 * MiB) / 3, `${at} `)])),
)
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

function open(bytes: Buffer, signal = new AbortController().signal) {
  writeFileSync(world.join('layer'), bytes)
  fd = openSync(world.join('layer'), 'r')
  return openLayer({ from: { fd }, compression: 'detect' }, signal)
}

/** How far the descriptor was read. */
const position = () => Number(/pos:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1])

/** How far it was read when nothing more is. */
async function settled(): Promise<number> {
  for (let before = -1; ; await sleep(100)) {
    const now = position()
    if (now === before) return now
    before = now
  }
}

const formats = [
  { name: 'gzip', compressed: gzipSync(plain, { level: 1 }), bomb: gzipSync(Buffer.alloc(256 * MiB), { level: 9 }) },
  { name: 'zstd', compressed: zstdCompressSync(plain), bomb: zstdCompressSync(Buffer.alloc(256 * MiB)) },
]

it.each(formats)('$name: all bytes come, in their order, in slices that let other things happen', async (format) => {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of open(format.compressed)) {
    expect(chunk.length).toBeLessThanOrEqual(256 * 1024)
    hash.update(chunk)
    size += chunk.length
  }
  expect({ size, digest: hash.digest('hex') }).toEqual({ size: plain.length, digest: sha256(plain) })
})

it.each(formats)(
  '$name: while one chunk is used no more is read than what may be ahead, and all of it comes',
  async (format) => {
    const layer = open(format.compressed)
    const { value: first } = await layer.next()
    const ahead = await settled()
    // Where between nothing and all that it may read it stops follows from when its threads had their turns.
    expect(ahead).toBeLessThan(format.compressed.length / 2)
    const hash = createHash('sha256').update(first as Buffer)
    for await (const chunk of layer) hash.update(chunk)
    expect(hash.digest('hex')).toBe(sha256(plain))
    expect(position()).toBe(format.compressed.length)
  },
)

it.each(formats)('$name: memory that was used is freed, not left to the collector', async (format) => {
  const before = process.memoryUsage().arrayBuffers
  let most = 0
  for await (const _ of open(format.bomb)) most = Math.max(most, process.memoryUsage().arrayBuffers - before)
  expect(most).toBeLessThan(32 * MiB)
})

it.each(formats)(
  '$name: of what becomes a thousand times as large no more waits than of other layers',
  async (format) => {
    const layer = open(format.bomb)
    const before = process.memoryUsage().arrayBuffers
    await layer.next()
    await settled()
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MiB)
    await layer.return(undefined)
  },
)

it.each(formats)(
  '$name: a layer that ends too early or is damaged half way fails, and is read no more',
  async (format) => {
    const { compressed, name } = format
    const half = Math.floor(compressed.length / 2)
    const read = async (bytes: Buffer) => {
      for await (const _ of open(bytes));
    }
    await expect(read(compressed.subarray(0, half))).rejects.toThrow(
      name === 'gzip' ? 'gzip: unexpected end of file' : 'zstd: ',
    )
    closeSync(fd)
    const damaged = Buffer.from(compressed)
    // So many that they are not only a part of what zstd keeps as it is.
    damaged.subarray(half, half + MiB).fill(0xff)
    await expect(read(damaged)).rejects.toThrow(`${name}: `)
    const left = position()
    expect(await settled()).toBe(left)
  },
)

it.each(formats)('$name: whoever leaves half way ends the reading', async (format) => {
  let size = 0
  for await (const chunk of open(format.compressed)) {
    size += chunk.length
    if (size > plain.length / 2) break
  }
  const left = position()
  expect(left).toBeLessThan(format.compressed.length)
  expect(await settled()).toBe(left)
})

it.each(formats)('$name: an abort half way ends it with its reason', async (format) => {
  const controller = new AbortController()
  const reading = (async () => {
    let size = 0
    for await (const chunk of open(format.compressed, controller.signal)) {
      size += chunk.length
      if (size > plain.length / 4) controller.abort(new Error('enough'))
    }
  })()
  await expect(reading).rejects.toThrow('enough')
})
