import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CheckpointOptions, Options } from '@flotilla/api/containerd/runc/v1/runc'
import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { CreateTaskRequest } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { Process, Status } from '@flotilla/api/containerd/v1/types/types'
import type { CreateTaskCommand, WaitCommand } from '@flotilla/api/flotilla/node/v1/node'
import { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, makeCall, notFound, status, unavailable } from '@flotilla/rpc'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NodeTasksClient } from './deps.ts'
import { createTasksService } from './tasks-service.ts'
import { container, containersIn, contentIn, nodeWith } from './testing/parts.ts'

const call = (metadata: Record<string, string> = {}) => makeCall({ namespace: 'tests', metadata })
const runc = (name: string, value: Uint8Array) =>
  Any.fromPartial({ typeUrl: `containerd.runc.v1.${name}`, value: Buffer.from(value) })

let catalogue: Map<string, Container>
let blobs: Map<string, Buffer>
let nodes: Record<string, Partial<NodeTasksClient>>

beforeEach(() => {
  catalogue = new Map([container('here'), container('c1', 'n1'), container('c2', 'n2')].map((one) => [one.id, one]))
  blobs = new Map()
  nodes = { n1: {}, n2: {} }
})

const service = () =>
  createTasksService({
    containers: containersIn(catalogue),
    content: contentIn(blobs),
    node: (name) => nodeWith(nodes[name] ?? {}),
    nodes: async () => ['n1', 'n2'],
    localNode: 'n1',
  })

describe('a call about one task', () => {
  it('goes to the node of its container, which is this one when nothing says', async () => {
    nodes = {
      n1: { start: async () => ({ pid: 1 }) },
      n2: { start: async () => ({ pid: 2 }) },
    }
    const start = (containerId: string) => service().start({ containerId, execId: '' }, call())
    expect(await start('c1')).toEqual({ pid: 1 })
    expect(await start('c2')).toEqual({ pid: 2 })
    expect(await start('here')).toEqual({ pid: 1 })
  })

  it('fails for an unknown container, without a namespace, and as the node fails', async () => {
    const get = (containerId: string, with_ = call()) => service().get({ containerId, execId: '' }, with_)
    await expect(get('none')).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'container "none" in namespace "tests": not found',
    })
    await expect(get('c1', makeCall())).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
    await expect(get('c2')).rejects.toMatchObject({ code: status.UNAVAILABLE })
    nodes.n2 = { get: () => Promise.reject(notFound('task c2 not found')) }
    await expect(get('c2')).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'task c2 not found: not found',
    })
  })

  it('creates with the options of the container unless it has its own', async () => {
    const commands: CreateTaskCommand[] = []
    nodes.n1 = {
      create: async (command) => {
        commands.push(command)
        return { containerId: 'c1', pid: 3 }
      },
    }
    const own = runc('Options', Options.encode(Options.fromPartial({ noPivotRoot: true })).finish())
    for (const options of [undefined, own]) {
      const request = CreateTaskRequest.fromPartial({ containerId: 'c1', options })
      expect(await service().create(request, call())).toEqual({ containerId: 'c1', pid: 3 })
    }
    expect(commands.map(({ request }) => request!.options)).toEqual([catalogue.get('c1')!.runtime!.options, own])
    expect(commands[0]!.container).toEqual(catalogue.get('c1'))
    expect(commands[0]!.checkpointPath).toBe('')
  })
})

describe('a wait', () => {
  const exit = { exited: true, exitStatus: 4, exitedAt: { seconds: 5, nanos: 6 } }
  const running = { exited: false, exitStatus: 0, exitedAt: undefined }

  /** A node whose waits go as told, one after the other; the last goes on. */
  function script(...rounds: ((command: WaitCommand, call: Call) => Promise<typeof exit | typeof running>)[]) {
    const seen: { command: WaitCommand; again: boolean }[] = []
    nodes.n2 = {
      wait: async (command, with_) => {
        seen.push({ command, again: with_.metadata.has('flotilla-wait-again') })
        const round = rounds.length > 1 ? rounds.shift() : rounds[0]
        return await round!(command, with_)
      },
    }
    return seen
  }

  const wait = (with_ = call()) => service().wait({ containerId: 'c2', execId: 'e' }, with_)
  const away = () => Promise.reject(unavailable('node "n2" is not there'))

  it('asks again until the process has ended', async () => {
    const seen = script(
      async () => running,
      async () => running,
      async () => exit,
    )
    expect(await wait()).toEqual({ exitStatus: 4, exitedAt: exit.exitedAt })
    expect(seen.map(({ again, command }) => [command.containerId, command.execId, command.timeoutMs, again])).toEqual([
      ['c2', 'e', 0, false],
      ['c2', 'e', 20_000, true],
      ['c2', 'e', 20_000, true],
    ])
  })

  it('outlives a node that goes away and comes back', async () => {
    script(
      async () => running,
      away,
      away,
      async () => running,
      away,
      async () => exit,
    )
    expect(await wait()).toMatchObject({ exitStatus: 4 })
  })

  it('fails at once when nobody knows that the process was there', async () => {
    script(away, async () => exit)
    await expect(wait()).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })

  it('fails when the task is gone without a known exit', async () => {
    script(
      async () => running,
      () => Promise.reject(notFound('task c2 not found')),
    )
    await expect(wait()).rejects.toMatchObject({ code: status.NOT_FOUND })
  })

  it('ends when its caller does, also while the node is away', async () => {
    script(async () => running, away)
    const controller = new AbortController()
    const waiting = wait(makeCall({ namespace: 'tests', signal: controller.signal }))
    setTimeout(() => controller.abort(), 50)
    await expect(waiting).rejects.toThrow()
  })
})

describe('a call about many tasks', () => {
  const task = (id: string) => Process.fromPartial({ id, status: Status.RUNNING, pid: 9 })

  beforeEach(() => {
    nodes.n1 = {
      list: async () => ({ tasks: [task('c1'), task('a')] }),
      metrics: async () => ({ metrics: [{ timestamp: undefined, id: 'c1', data: undefined }] }),
    }
  })

  it('asks all nodes and says UNKNOWN of those that do not answer', async () => {
    const { tasks } = await service().list({ filter: '' }, call())
    expect(tasks.map(({ id, status }) => [id, status])).toEqual([
      ['a', Status.RUNNING],
      ['c1', Status.RUNNING],
      ['c2', Status.UNKNOWN],
    ])
    expect((await service().metrics({ filters: [] }, call())).metrics.map(({ id }) => id)).toEqual(['c1'])
  })

  it('asks one node when the call names it', async () => {
    const { tasks } = await service().list({ filter: '' }, call({ 'flotilla-node': 'n1' }))
    expect(tasks.map(({ id }) => id)).toEqual(['a', 'c1'])
  })

  it('refuses a filter that cannot be read', async () => {
    await expect(service().metrics({ filters: ['id=='] }, call())).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })
})

describe('a checkpoint', () => {
  let files: string

  beforeEach(async () => {
    files = await mkdtemp(join(tmpdir(), 'flotilla-tasks-'))
    await mkdir(join(files, 'inner'))
    await writeFile(join(files, 'pages.img'), Buffer.alloc(3_000_000, 7))
    await writeFile(join(files, 'inner/empty'), '')
  })

  afterEach(() => rm(files, { recursive: true, force: true }))

  const left = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('flotilla-checkpoint-'))

  it('is written to content with the spec beside it, and restored from there', async () => {
    nodes.n1 = { checkpoint: async () => ({ path: files }) }
    const request = { containerId: 'c1', parentCheckpoint: '', options: undefined }
    const { descriptors } = await service().checkpoint(request, call())
    expect(existsSync(files)).toBe(false)
    expect(descriptors.map(({ mediaType }) => mediaType)).toEqual([
      'application/vnd.containerd.container.criu.checkpoint.criu.tar',
      'application/vnd.containerd.container.checkpoint.config.v1+proto',
    ])
    for (const { digest, size } of descriptors) expect(blobs.get(digest)!.length).toBe(size)
    expect(Any.decode(blobs.get(descriptors[1]!.digest)!)).toEqual(catalogue.get('c1')!.spec)

    const before = await left()
    let restored = ''
    nodes.n1 = {
      create: async ({ checkpointPath }) => {
        restored = checkpointPath
        expect((await readFile(join(checkpointPath, 'pages.img'))).equals(Buffer.alloc(3_000_000, 7))).toBe(true)
        expect((await readFile(join(checkpointPath, 'inner/empty'))).length).toBe(0)
        return { containerId: 'c1', pid: 4 }
      },
    }
    const create = CreateTaskRequest.fromPartial({ containerId: 'c1', checkpoint: descriptors[0] })
    expect(await service().create(create, call())).toMatchObject({ pid: 4 })
    expect(restored).not.toBe('')
    expect(await left()).toEqual(before)
  })

  it('that is there already is no error', async () => {
    const keep = await mkdtemp(join(tmpdir(), 'flotilla-tasks-'))
    nodes.n1 = { checkpoint: async () => ({ path: keep }) }
    const request = { containerId: 'c1', parentCheckpoint: '', options: undefined }
    const first = await service().checkpoint(request, call())
    await mkdir(keep)
    expect(await service().checkpoint(request, call())).toEqual(first)
    expect(existsSync(keep)).toBe(false)
  })

  it('stays in the directory that its options name', async () => {
    nodes.n1 = { checkpoint: async () => ({ path: files }) }
    const value = CheckpointOptions.encode(CheckpointOptions.fromPartial({ imagePath: files })).finish()
    const request = { containerId: 'c1', parentCheckpoint: '', options: runc('CheckpointOptions', value) }
    expect(await service().checkpoint(request, call())).toEqual({ descriptors: [] })
    expect(existsSync(files)).toBe(true)
    expect(blobs.size).toBe(0)
  })

  it('of another type, with names that leave, or on another node is refused and leaves nothing', async () => {
    const before = await left()
    nodes.n1 = { create: () => Promise.reject(new Error('must not be asked')) }
    const mediaType = 'application/vnd.containerd.container.criu.checkpoint.criu.tar'
    const create = (containerId: string, checkpoint: { mediaType: string; digest: string; size: number }) =>
      service().create(CreateTaskRequest.fromPartial({ containerId, checkpoint }), call())
    await expect(create('c1', { mediaType: 'text/plain', digest: 'sha256:a', size: 1 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringContaining('unsupported checkpoint type "text/plain"'),
    })
    await expect(create('c1', { mediaType, digest: 'sha256:none', size: 1 })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    })
    await expect(create('c2', { mediaType, digest: 'sha256:none', size: 1 })).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    })
    const tar = (await import('tar-stream')).default
    for (const header of [{ name: '../out' }, { name: 'link', type: 'symlink' as const, linkname: '/etc/passwd' }]) {
      const pack = tar.pack()
      pack.entry(header, '')
      pack.finalize()
      const bytes = Buffer.concat(await Array.fromAsync(pack as AsyncIterable<Buffer>))
      blobs.set('sha256:evil', bytes)
      await expect(create('c1', { mediaType, digest: 'sha256:evil', size: bytes.length })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      })
    }
    expect(await left()).toEqual(before)
  })
})
