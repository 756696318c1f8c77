import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { EventsDefinition as ForwardDefinition } from '@flotilla/api/containerd/services/events/ttrpc/v1/ttrpc'
import { StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { TaskDefinition } from '@flotilla/api/containerd/task/v3/task'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { type Any, Any as AnyType } from '@flotilla/api/google/protobuf/any'
import { type Call, failedPrecondition, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectTtrpc, type TtrpcConnection, ttrpcClientOf } from './index.ts'
import { serveTtrpc, type TtrpcServer } from './server.ts'

type Tasks = ServiceOf<typeof TaskDefinition>

let dir: string
let path: string
let server: TtrpcServer
let connection: TtrpcConnection
let calls: Call[]
let blocked: AbortSignal[]

/** Stands in for a shim: answers that show what arrived. */
const tasks: Partial<Tasks> = {
  async connect(request, call) {
    calls.push(call)
    return { shimPid: 7, taskPid: 8, version: request.id }
  },
  async kill() {
    throw failedPrecondition('process not created')
  },
  async stats(request) {
    return { stats: { typeUrl: 'bytes', value: Buffer.alloc(Number(request.id)) } }
  },
  wait(_request, call) {
    blocked.push(call.signal)
    return new Promise((_, reject) => {
      call.signal.addEventListener('abort', () => reject(call.signal.reason))
    })
  },
}

const streaming: ServiceOf<typeof StreamingDefinition> = {
  async *stream(requests: AsyncIterable<Any>) {
    let count = 0
    for await (const request of requests) {
      count += 1
      if (request.typeUrl === 'fail') throw failedPrecondition('told to')
      yield AnyType.fromPartial({ typeUrl: `echo ${request.typeUrl}`, value: request.value })
    }
    yield AnyType.fromPartial({ typeUrl: `count ${count}` })
  },
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'flotilla-ttrpc-'))
  path = join(dir, 's')
  calls = []
  blocked = []
  server = await serveTtrpc(path, [
    { definition: TaskDefinition, service: tasks },
    { definition: StreamingDefinition, service: streaming },
  ])
  connection = await connectTtrpc(`unix://${path}`)
})

afterEach(async () => {
  await connection[Symbol.asyncDispose]()
  await server.close()
  await rm(dir, { recursive: true })
})

const client = () => ttrpcClientOf(TaskDefinition, connection)

describe('unary calls', () => {
  it('carry the message, the namespace and other metadata, and the deadline', async () => {
    const made = makeCall({ namespace: 'ns1', metadata: { 'x-a': 'b' }, timeout: 5_000 })
    // Deadlines that clients tell in nanoseconds are no whole milliseconds.
    const call = { ...made, deadline: Date.now() + 5_000.000_7 }
    expect(await client().connect({ id: 'c1' }, call)).toEqual({ shimPid: 7, taskPid: 8, version: 'c1' })
    expect(calls[0]!.namespace).toBe('ns1')
    expect([...calls[0]!.metadata]).toEqual([['x-a', 'b']])
    expect(Math.abs(calls[0]!.deadline! - call.deadline!)).toBeLessThan(1_000)
  })

  it('fail with the code and the text of the server', async () => {
    await expect(client().kill({ id: 'a', execId: '', signal: 9, all: false }, makeCall())).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'process not created: failed precondition',
    })
  })

  it('of a method that nobody implements are UNIMPLEMENTED', async () => {
    await expect(client().pause({ id: 'a' }, makeCall())).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  })

  it('run side by side on one connection', async () => {
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, i) => client().connect({ id: `c${i}` }, makeCall())),
    )
    expect(answers.map((answer) => answer.version)).toEqual(answers.map((_, i) => `c${i}`))
  })

  it('end at their deadline, on both sides', async () => {
    const call = client().wait({ id: 'a', execId: '' }, makeCall({ timeout: 50 }))
    await expect(call).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    await expect.poll(() => blocked[0]?.aborted).toBe(true)
  })

  it('end when the caller gives up, and leave the connection usable', async () => {
    const controller = new AbortController()
    const call = client().wait({ id: 'a', execId: '' }, makeCall({ signal: controller.signal }))
    controller.abort()
    await expect(call).rejects.toMatchObject({ code: status.CANCELLED })
    expect((await client().connect({ id: 'after' }, makeCall())).version).toBe('after')
  })

  it('all fail UNAVAILABLE when the connection closes, and later ones at once', async () => {
    const open = Array.from({ length: 3 }, () => client().wait({ id: 'a', execId: '' }, makeCall()))
    const settled = Promise.allSettled(open)
    await expect.poll(() => blocked.length).toBe(3)
    await server.close()
    for (const result of await settled) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: status.UNAVAILABLE } })
    }
    await connection.closed
    expect(connection.isClosed).toBe(true)
    expect(blocked.every((signal) => signal.aborted)).toBe(true)
    await expect(client().connect({ id: 'a' }, makeCall())).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })
})

describe('messages over 4 MiB', () => {
  it('are refused before they are sent', async () => {
    const huge = { id: 'a'.repeat(5 << 20) }
    await expect(client().connect(huge, makeCall())).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    expect((await client().connect({ id: 'after' }, makeCall())).version).toBe('after')
  })

  it('as an answer become RESOURCE_EXHAUSTED', async () => {
    const call = client().stats({ id: String(5 << 20) }, makeCall())
    await expect(call).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    const just = await client().stats({ id: String(4_000_000) }, makeCall())
    expect(just.stats!.value.length).toBe(4_000_000)
  })

  it('from a client that sends them all the same are skipped and answered', async () => {
    const socket = createConnection(path)
    const header = Buffer.alloc(10)
    header.writeUInt32BE(5 << 20, 0)
    header.writeUInt32BE(1, 4)
    header.writeUInt8(1, 8)
    socket.write(header)
    socket.write(Buffer.alloc(5 << 20))
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    expect(answer.readUInt32BE(4)).toBe(1)
    expect(answer.readUInt8(8)).toBe(2)
    expect(answer.subarray(10).includes(Buffer.from('resource exhausted'))).toBe(true)
    socket.destroy()
  })
})

describe('streams', () => {
  const open = (messages: AsyncIterable<Any>) =>
    ttrpcClientOf(StreamingDefinition, connection).stream(messages, makeCall())
  const any = (typeUrl: string, size = 0) => AnyType.fromPartial({ typeUrl, value: Buffer.alloc(size) })

  it('carry messages both ways until the last answer', async () => {
    const answers: string[] = []
    async function* messages() {
      for (let i = 0; i < 200; i++) yield any(`m${i}`, 60_000)
    }
    for await (const answer of open(messages())) answers.push(answer.typeUrl)
    expect(answers).toEqual([...Array.from({ length: 200 }, (_, i) => `echo m${i}`), 'count 200'])
  })

  it('end with the error of the server', async () => {
    async function* messages() {
      yield any('one')
      yield any('fail')
      await delay(60_000, undefined, { ref: false })
    }
    const answers: string[] = []
    const read = async () => {
      for await (const answer of open(messages())) answers.push(answer.typeUrl)
    }
    await expect(read()).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
    expect(answers).toEqual(['echo one'])
  })
})

describe('frames cut at any byte', () => {
  it('are put together again', async () => {
    const { encodeFrame, FrameReader } = await import('./frames.ts')
    const sent = [encodeFrame(1, 1, 0, Buffer.from('hello')), encodeFrame(3, 2, 1, Buffer.alloc(0))]
    const bytes = Buffer.concat(sent)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reader = new FrameReader()
      const frames = [...reader.push(bytes.subarray(0, cut)), ...reader.push(bytes.subarray(cut))]
      expect(frames.map((f) => [f.stream, f.type, f.flags, String(f.data)])).toEqual([
        [1, 1, 0, 'hello'],
        [3, 2, 1, ''],
      ])
    }
  })
})

describe.skipIf(!existsSync('/usr/bin/containerd'))("against containerd's own ttrpc server", () => {
  let daemon: ChildProcess
  let theirs: TtrpcConnection

  beforeEach(async () => {
    const config = join(dir, 'config.toml')
    await writeFile(
      config,
      `version = 2
root = "${dir}/root"
state = "${dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "${dir}/c.sock"
`,
    )
    daemon = spawn('/usr/bin/containerd', ['-c', config], { stdio: 'ignore' })
    for (;;) {
      const attempt = await connectTtrpc(`${dir}/c.sock.ttrpc`).catch(() => undefined)
      if (attempt) {
        theirs = attempt
        break
      }
      if (daemon.exitCode !== null) throw new Error(`containerd ended with ${daemon.exitCode}`)
      await delay(20)
    }
  })

  afterEach(async () => {
    theirs.close()
    const gone = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill('SIGTERM')
    await gone
  })

  it('forwards an event, and reads its refusal', async () => {
    const events = ttrpcClientOf(ForwardDefinition, theirs)
    const envelope = Envelope.fromPartial({
      timestamp: { seconds: 1, nanos: 2 },
      namespace: 'ns1',
      topic: '/tasks/oom',
      event: { typeUrl: 'containerd.events.TaskOOM', value: Buffer.from([10, 1, 97]) },
    })
    expect(await events.forward({ envelope }, makeCall({ timeout: 10_000 }))).toEqual({})
    const refused = events.forward({ envelope: { ...envelope, topic: 'none' } }, makeCall({ timeout: 10_000 }))
    await expect(refused).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringContaining("must start with '/'"),
    })
    await expect(
      ttrpcClientOf(TaskDefinition, theirs).connect({ id: 'x' }, makeCall({ timeout: 10_000 })),
    ).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  })
})
