import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs'
import { mkfifo } from '@flotilla/linux'
import { type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createLayerPool } from './index.ts'
import { tarHeader } from './tar/writer.ts'

let world: TempWorld
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'layers' })
})
afterEach(() => world[Symbol.asyncDispose]())

function target(name: string) {
  mkdirSync(world.join(name))
  return { kind: 'plain', root: world.join(name) } as const
}

const from = (path: string) => ({ from: { path }, compression: 'detect' }) as const

/** A layer that never ends: two blocks of zeros are an empty tar, and what follows is read to its end. */
const endless = '/dev/zero'

async function layer(name: string): Promise<string> {
  writeFileSync(world.join(name), await tarOf([{ name: `file-of-${name}`, content: 'x' }]))
  return world.join(name)
}

it('does more jobs than it has threads, each with its own result', async () => {
  await using pool = createLayerPool({ workers: 2 })
  const results = await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const path = await layer(`layer-${index}`)
      return await pool.apply({ source: from(path), target: target(`root-${index}`) })
    }),
  )
  expect(new Set(results.map((result) => result.digest)).size).toBe(8)
  for (let index = 0; index < 8; index++)
    expect(readdirSync(world.join(`root-${index}`))).toEqual([`file-of-layer-${index}`])
})

it('goes on after a job failed', async () => {
  await using pool = createLayerPool({ workers: 1 })
  await expect(pool.apply({ source: from(world.join('absent')), target: target('a') })).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await pool.apply({ source: from(await layer('l')), target: target('b') })
  expect(readdirSync(world.join('b'))).toEqual(['file-of-l'])
})

it('stops a running job when its signal is aborted, and takes the next', async () => {
  await using pool = createLayerPool({ workers: 1, cancelGrace: 200 })
  const controller = new AbortController()
  const running = pool.apply({ source: from(endless), target: target('a'), signal: controller.signal })
  const next = pool.apply({ source: from(await layer('l')), target: target('b') })
  controller.abort(new Error('no longer wanted'))
  await expect(running).rejects.toThrow('no longer wanted')
  await next
  expect(readdirSync(world.join('b'))).toEqual(['file-of-l'])
})

it('drops a waiting job when its signal is aborted', async () => {
  await using pool = createLayerPool({ workers: 1, cancelGrace: 200 })
  const [first, second] = [new AbortController(), new AbortController()]
  const running = pool.apply({ source: from(endless), target: target('a'), signal: first.signal })
  const waiting = pool.apply({ source: from(await layer('l')), target: target('b'), signal: second.signal })
  second.abort()
  await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
  first.abort()
  await expect(running).rejects.toMatchObject({ name: 'AbortError' })
  expect(readdirSync(world.join('b'))).toEqual([])
  const done = AbortSignal.abort(new Error('before'))
  await expect(pool.apply({ source: from(world.join('l')), target: target('c'), signal: done })).rejects.toThrow(
    'before',
  )
})

it('ends what runs and waits when it is closed', async () => {
  const pool = createLayerPool({ workers: 1, cancelGrace: 200 })
  const running = pool.apply({ source: from(endless), target: target('a') })
  const waiting = pool.apply({ source: from(await layer('l')), target: target('b') })
  const both = Promise.allSettled([running, waiting])
  await pool[Symbol.asyncDispose]()
  expect((await both).map((one) => one.status)).toEqual(['rejected', 'rejected'])
  await expect(pool.apply({ source: from(world.join('l')), target: target('c') })).rejects.toThrow('closed')
})

it('gives up a job that waits for a silent pipe', async () => {
  await using pool = createLayerPool({ workers: 1, cancelGrace: 50 })
  mkfifo(world.join('silent'))
  const writer = openSync(world.join('silent'), 'r+')
  const running = pool.apply({
    source: from(world.join('silent')),
    target: target('a'),
    signal: AbortSignal.timeout(200),
  })
  await expect(running).rejects.toMatchObject({ name: 'TimeoutError' })
  // Lets the thread end.
  writeSync(writer, 'x')
  await pool.apply({ source: from(await layer('l')), target: target('b') })
  expect(readdirSync(world.join('b'))).toEqual(['file-of-l'])
})

it('fails a job that needs too much memory, and only that one', { timeout: 60_000 }, async () => {
  await using pool = createLayerPool({ workers: 1, memoryLimit: 16 })
  const members = Array.from({ length: 40_000 }, (_, index) =>
    tarHeader({ type: '5', name: `${index}-${'d'.repeat(85)}/`, mode: 0o755, mtime: index }),
  )
  writeFileSync(world.join('big'), Buffer.concat(members))
  await expect(pool.apply({ source: from(world.join('big')), target: target('a') })).rejects.toThrow('memory')
  await pool.apply({ source: from(await layer('l')), target: target('b') })
  expect(readdirSync(world.join('b'))).toEqual(['file-of-l'])
})

it('reads from a pipe and from an open descriptor, to their end', async () => {
  await using pool = createLayerPool({ workers: 1 })
  const path = await layer('l')
  mkfifo(world.join('pipe'))
  const program = spawn('sh', ['-c', 'cat "$0" > "$1"', path, world.join('pipe')], { stdio: 'inherit' })
  const ended = once(program, 'exit')
  await pool.apply({ source: from(world.join('pipe')), target: target('a') })
  await ended
  expect(readdirSync(world.join('a'))).toEqual(['file-of-l'])
  const fd = openSync(path, 'r')
  await pool.apply({ source: { from: { fd }, compression: 'detect' }, target: target('b') })
  expect(readdirSync(world.join('b'))).toEqual(['file-of-l'])
})
