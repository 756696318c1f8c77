import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { tables } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { begin, blobFiles, digestOf, ingestDirectories, put, read, storeDirectory } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

interface Line {
  readonly ready?: true
  readonly offset?: number
  readonly committed?: string
}

describe('after an abrupt end', () => {
  let world: ContentWorld
  let made = 0
  const call = makeCall({ namespace: 'crash' })
  const newRoot = async () => {
    const root = world.world.join(`root-${++made}`)
    await mkdir(root)
    return root
  }
  beforeAll(async () => {
    world = await contentWorld()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  /** Runs the child until `enough`, kills it, and gives what it said it was told. */
  async function killed(root: string, mode: string, enough: (lines: readonly Line[]) => boolean): Promise<Line[]> {
    const script = new URL('./testing/crash-child.ts', import.meta.url).pathname
    const child = spawn(process.execPath, [script, world.redis.url, root, mode, String(++made)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    child.stderr.on('data', (text) => {
      errors += text
    })
    const lines: Line[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(JSON.parse(line))
      if (enough(lines)) child.kill('SIGKILL')
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    expect(errors).toBe('')
    expect(child.signalCode).toBe('SIGKILL')
    return lines
  }

  test('a half-written blob is resumed with every acknowledged byte, again and again', {
    timeout: 60_000,
  }, async () => {
    const root = await newRoot()
    let known = 0
    for (let round = 1; round <= 4; round++) {
      const lines = await killed(root, 'stream', (seen) => seen.length > 20 * round)
      const offsets = lines.flatMap(({ offset }) => (offset === undefined ? [] : [offset]))
      expect(offsets[0]).toBeGreaterThanOrEqual(known)
      known = offsets.at(-1) ?? 0
    }
    await using service = await world.open({ root })
    const { status: found } = await service.content.status({ ref: 'stream' }, call)
    expect(found?.offset).toBeGreaterThanOrEqual(known)
    const whole = Buffer.alloc(found?.offset ?? 0)
    const piece = Buffer.alloc(64 * 1024, 'piece ')
    for (let at = 0; at < whole.length; at += piece.length) piece.copy(whole, at)
    const writer = contentWriter(service.content, call)
    expect(await writer.send({ ref: 'stream' })).toMatchObject({ offset: whole.length, digest: digestOf(whole) })
    await writer.send({ action: WriteAction.COMMIT, offset: whole.length })
    await writer.end()
    expect((await read(service.content, call, digestOf(whole))).equals(whole)).toBe(true)
  })

  test('every acknowledged commit is there, and nothing is half there', { timeout: 120_000 }, async () => {
    const root = await newRoot()
    const acknowledged: string[] = []
    for (let round = 0; round < 8; round++) {
      const lines = await killed(root, 'commits', (seen) => seen.length > 10 + 7 * round)
      acknowledged.push(...lines.flatMap(({ committed }) => committed ?? []))
    }
    await using service = await world.open({ root })
    const listed = new Map<string, number>()
    for await (const { info } of service.content.list({ filters: [] }, call))
      for (const { digest, size } of info) listed.set(digest, size)
    for (const digest of acknowledged) expect(listed.get(digest)).toBe(5_000)
    // What was cut may leave a blob that nobody names, but never a record without its bytes.
    const files = await blobFiles(root)
    for (const digest of acknowledged) expect(files).toContain(digest)
    const { statuses } = await service.content.listStatuses({ filters: [] }, call)
    expect(await ingestDirectories(root)).toHaveLength(statuses.length)
    for (const { ref, offset, total } of statuses) {
      expect(total).toBe(5_000)
      const opened = await begin(service.content, call, ref, '')
      expect(opened.offset).toBe(offset)
    }
    await service.blobs.sweep({ digests: [] }, makeCall())
    const named = [...listed.keys()].filter((digest) => files.includes(digest))
    expect(await blobFiles(root)).toEqual(named.sort())
  })

  test('a commit cut between file and record can be completed, and its blob not be spoilt', async () => {
    const root = await newRoot()
    const data = 'cut off'
    const digest = digestOf(data)
    const blob = storeDirectory(root, 'blobs', 'sha256', digest.slice('sha256:'.length))
    for (const change of ['nothing', 'append', 'start over']) {
      {
        await using service = await world.open({ root })
        await begin(service.content, call, change, data)
      }
      // What a commit has done before its record: the file is linked to its name.
      await link(`${await findDirectory(root, change)}/data`, blob)

      await using service = await world.open({ root })
      expect((await service.content.status({ ref: change }, call)).status?.offset).toBe(data.length)
      const writer = contentWriter(service.content, call)
      const { offset } = await writer.send({ ref: change })
      expect(offset).toBe(data.length)
      if (change === 'append') await writer.send({ action: WriteAction.WRITE, offset, data: Buffer.from(' and on') })
      if (change === 'start over') await writer.send({ action: WriteAction.WRITE, data: Buffer.from('another') })
      expect(await readFile(blob, 'utf8')).toBe(data)
      const length = { nothing: 7, append: 14, 'start over': 7 }[change]
      const answer = await writer.send({
        action: WriteAction.COMMIT,
        ...(length === undefined ? {} : { offset: length }),
      })
      await writer.end()
      const wanted = { nothing: 'cut off', append: 'cut off and on', 'start over': 'another' }[change]
      expect(String(await read(service.content, call, answer.digest))).toBe(wanted)
      expect(await readFile(blob, 'utf8')).toBe(data)
      await service.content.delete({ digest: answer.digest }, call)
      await service.blobs.sweep({ digests: [] }, makeCall())
      expect(await blobFiles(root)).toEqual([])
    }
    expect(digest).toBe(digestOf('cut off'))
  })

  test('of Redis calls are UNAVAILABLE, and what was sent is there when it is back', async () => {
    const root = await newRoot()
    await using service = await world.open({ root })
    const data = Buffer.from('sent before')
    const writer = contentWriter(service.content, call)
    await writer.send({ ref: 'r', action: WriteAction.WRITE, data })
    await world.redis.kill()
    const away = { code: status.UNAVAILABLE }
    await expect(writer.send({ action: WriteAction.COMMIT, offset: data.length })).rejects.toMatchObject(away)
    await expect(begin(service.content, call, 'other', 'abc')).rejects.toMatchObject(away)
    await expect(service.content.abort({ ref: 'r' }, call)).rejects.toMatchObject(away)
    await expect(service.blobs.sweep({ digests: [digestOf('x')] }, makeCall())).rejects.toMatchObject(away)
    await world.redis.restart()
    await until('Redis to be back', () => world.metadata.namespaceNames().then(() => true))
    const again = contentWriter(service.content, call)
    expect(await again.send({ ref: 'r' })).toMatchObject({ offset: data.length, digest: digestOf(data) })
    await again.send({ action: WriteAction.COMMIT, offset: data.length })
    await again.end()
    expect(await read(service.content, call, digestOf(data))).toEqual(data)
    expect(await begin(service.content, call, 'other', 'abc')).toMatchObject({ offset: 3 })
  })

  test('start removes what is half made, half removed or recorded nowhere, and keeps the rest', async () => {
    const root = await newRoot()
    {
      await using service = await world.open({ root })
      for (const ref of ['whole', 'also whole', 'no record', 'no directory', 'no ref file'])
        await begin(service.content, call, ref, 'abc')
      const digest = await put(service.content, makeCall({ namespace: 'owner' }), 'adopted')
      await begin(service.content, call, 'adopting', '', digest)
    }
    const at = async (ref: string) => (await findDirectory(root, ref)) ?? ''
    await world.metadata.transact('crash', { writes: [{ op: 'delete', table: tables.ingests, field: 'no record' }] })
    await rm(await at('no directory'), { recursive: true })
    await rm(`${await at('no ref file')}/ref`)
    await mkdir(storeDirectory(root, 'ingest', '.half-made'))
    await writeFile(storeDirectory(root, 'ingest', '.half-made', 'data'), 'x')
    await mkdir(storeDirectory(root, 'ingest', 'stranger'))
    expect(await ingestDirectories(root)).toHaveLength(6)

    await using service = await world.open({ root })
    const { statuses } = await service.content.listStatuses({ filters: [] }, call)
    const mine = statuses.map(({ ref }) => ref)
    expect(mine).toEqual(['also whole', 'whole'])
    for (const ref of ['no record', 'no directory', 'no ref file']) {
      expect(mine).not.toContain(ref)
      await expect(service.content.status({ ref }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
      await expect(service.content.abort({ ref }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
    }
    expect(await ingestDirectories(root)).toHaveLength(2)
    expect(await begin(service.content, call, 'whole', 'def')).toMatchObject({ digest: digestOf('abcdef') })
    expect(await begin(service.content, call, 'adopting', '', digestOf('adopted'))).toMatchObject({ offset: 7 })
  })

  test('an ingest whose data file is gone begins anew', async () => {
    const root = await newRoot()
    await using service = await world.open({ root })
    await begin(service.content, call, 'r', 'abc')
    await rm(`${await findDirectory(root, 'r')}/data`)
    await expect(service.content.status({ ref: 'r' }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
    expect(await begin(service.content, call, 'r', '')).toMatchObject({ offset: 0 })
  })

  test('the directory is free again, and until then it is not', { timeout: 60_000 }, async () => {
    const root = await newRoot()
    let refused: unknown
    await killed(root, 'stream', (lines) => {
      if (lines.length === 1)
        void world.open({ root }).catch((error: unknown) => {
          refused = error
        })
      return refused !== undefined
    })
    expect(refused).toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: expect.stringMatching(/is in use by process \d+: failed precondition$/),
    })
    await using _ = await world.open({ root })
    await expect(world.open({ root })).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
  })
})

/** The directory of the ingest with this ref in namespace `crash`. */
async function findDirectory(root: string, ref: string): Promise<string | undefined> {
  for (const name of await readdir(storeDirectory(root, 'ingest'))) {
    const directory = storeDirectory(root, 'ingest', name)
    const text = await readFile(`${directory}/ref`, 'utf8').catch(() => '')
    if (text.startsWith('crash/') && text.endsWith(`/${ref}`)) return directory
  }
  return undefined
}
