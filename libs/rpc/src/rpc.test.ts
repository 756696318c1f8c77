import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ContentDefinition,
  InfoResponse,
  type ReadContentResponse,
  WriteContentRequest,
  WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { type Client, Metadata } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Call,
  type CallRecord,
  callRaw,
  clientOf,
  connect,
  createRpcServer,
  keepsNoRequest,
  makeCall,
  notFound,
  type RpcServer,
  requireNamespace,
  type ServiceOf,
  status,
  toRpcError,
  unavailable,
  validateIdentifier,
} from './index.ts'

const request = WriteContentRequest.fromPartial({})
const answer = WriteContentResponse.fromPartial({})
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

type Content = ServiceOf<typeof ContentDefinition>

/** A content service of which a test gives the methods it needs. */
const contentWith = (methods: Partial<Content>) => methods as Content

describe('a service over gRPC', () => {
  let dir: string
  let server: RpcServer
  let channel: Client
  let records: CallRecord[]

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'flotilla-rpc-'))
    records = []
    server = createRpcServer({ observe: (record) => records.push(record) })
  })
  afterEach(async () => {
    channel?.close()
    await server.close(100)
    rmSync(dir, { recursive: true })
  })
  const start = async (methods: Partial<Content>) => {
    server.add(ContentDefinition, contentWith(methods))
    const address = await server.listen(`unix://${join(dir, 'a.sock')}`)
    channel = connect(address)
    return clientOf(ContentDefinition, channel)
  }

  it.each([true, false])('uses the memory of requests again only where a method keeps none (%s)', async (again) => {
    const sizes = [200_000, 5_000, 40_000, 199_000, 0, 1_000_000, 20, 300_000]
    const sent = sizes.map((size) => randomBytes(size))
    const memories = new Set<ArrayBufferLike>()
    const kept: Uint8Array[] = []
    const seen: Buffer[] = []
    const write: Content['write'] = async function* (requests) {
      for await (const { data, offset } of requests) {
        if (data.length >= 40_000) memories.add(data.buffer)
        seen.push(Buffer.from(data))
        kept.push(data)
        yield { ...answer, offset }
      }
    }
    const client = await start({ write: again ? keepsNoRequest(write) : write })
    const turns = Array.from({ length: sent.length + 1 }, () => Promise.withResolvers<void>())
    const requests = async function* () {
      for (const [index, data] of sent.entries()) {
        yield { ...request, offset: index, data }
        await turns[index]?.promise
      }
    }
    for await (const { offset } of client.write(requests(), makeCall())) turns[offset]?.resolve()
    expect(seen.map(hashOf)).toEqual(sent.map(hashOf))
    expect(memories.size).toBe(again ? 2 : 5)
    if (!again) expect(kept.map(hashOf)).toEqual(sent.map(hashOf))
  })

  it('carries namespace, lease and metadata to the method', async () => {
    let seen: Call | undefined
    const client = await start({
      info: async (_, call) => {
        seen = call
        return InfoResponse.fromPartial({ info: { digest: 'd', size: 7 } })
      },
    })
    const call = makeCall({ namespace: 'k8s.io', lease: 'l1', metadata: { 'flotilla-node': 'a' }, timeout: 5_000 })
    expect((await client.info({ digest: 'd' }, call)).info?.size).toBe(7)
    expect(seen).toMatchObject({ namespace: 'k8s.io', lease: 'l1' })
    expect(seen?.metadata.get('flotilla-node')).toBe('a')
    expect(seen?.deadline).toBeGreaterThan(Date.now())
  })

  it('takes the first of several namespaces and leases', async () => {
    let seen: Call | undefined
    await start({
      info: async (_, call) => {
        seen = call
        return InfoResponse.fromPartial({})
      },
    })
    const headers = new Metadata()
    for (const value of ['moby', 'buildkit']) headers.add('containerd-namespace', value)
    for (const value of ['l1', 'l2']) headers.add('containerd-lease', value)
    const unread = (bytes: Buffer) => bytes
    await new Promise<void>((resolve, reject) => {
      const answer = (error: Error | null) => (error === null ? resolve() : reject(error))
      const path = '/containerd.services.content.v1.Content/Info'
      channel.makeUnaryRequest(path, unread, unread, Buffer.alloc(0), headers, answer)
    })
    expect(seen).toMatchObject({ namespace: 'moby', lease: 'l1' })
  })

  it('keeps code and text of an error, and reports the call', async () => {
    const client = await start({ info: () => Promise.reject(notFound('content digest sha256:ab')) })
    await expect(client.info({ digest: '' }, makeCall({ namespace: 'n' }))).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'content digest sha256:ab: not found',
    })
    expect(records).toMatchObject([
      { service: 'containerd.services.content.v1.Content', method: 'Info', namespace: 'n', code: 5 },
    ])
  })

  it('answers UNIMPLEMENTED for a method that the service lacks', async () => {
    const client = await start({})
    await expect(client.info({ digest: '' }, makeCall())).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  })

  it('makes the socket for root and its group only', async () => {
    await start({})
    expect(statSync(join(dir, 'a.sock')).mode & 0o777).toBe(0o660)
  })

  it('produces no more of a stream than the consumer takes, and ends the producer when the consumer leaves', async () => {
    let produced = 0
    const left = Promise.withResolvers<void>()
    const client = await start({
      async *read(): AsyncGenerator<ReadContentResponse> {
        try {
          for (;;) {
            produced++
            yield { offset: 0, data: Buffer.alloc(1024 * 1024) }
          }
        } finally {
          left.resolve()
        }
      },
    })
    for await (const part of client.read({ digest: 'd', offset: 0, size: 0 }, makeCall())) {
      expect(part.data.length).toBe(1024 * 1024)
      break
    }
    await left.promise
    expect(produced).toBeLessThan(64)
  })

  it('answers each message of a bidirectional stream', async () => {
    const client = await start({
      async *write(requests: AsyncIterable<WriteContentRequest>) {
        let total = 0
        for await (const request of requests) {
          total += request.data.length
          yield { action: request.action, startedAt: undefined, updatedAt: undefined, offset: total, total, digest: '' }
        }
      },
    })
    async function* requests(): AsyncGenerator<WriteContentRequest> {
      for (let i = 0; i < 3; i++)
        yield { action: 1, ref: 'r', total: 0, expected: '', offset: 0, data: Buffer.from('ab'), labels: {} }
    }
    const offsets: number[] = []
    for await (const answer of client.write(requests(), makeCall())) offsets.push(answer.offset)
    expect(offsets).toEqual([2, 4, 6])
  })

  it('ends calls that outlast its closing with UNAVAILABLE, streams too', async () => {
    const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
    const client = await start({
      info: () => {
        begun[0].resolve()
        return new Promise(() => {})
      },
      async *read(): AsyncGenerator<ReadContentResponse> {
        begun[1].resolve()
        await new Promise(() => {})
      },
    })
    const call = makeCall({ timeout: 30_000 })
    const info = expect(client.info({ digest: '' }, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
    const parts = client.read({ digest: 'd', offset: 0, size: 0 }, call)[Symbol.asyncIterator]()
    const read = expect(parts.next()).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await Promise.all(begun.map(({ promise }) => promise))
    await server.close(10)
    await Promise.all([info, read])
  })

  it('aborts the signal of a call whose client cancels', async () => {
    const aborted = Promise.withResolvers<void>()
    const client = await start({
      info: (_, call) =>
        new Promise((_, reject) => {
          call.signal.addEventListener('abort', () => {
            aborted.resolve()
            reject(call.signal.reason)
          })
        }),
    })
    const leave = new AbortController()
    const pending = client.info({ digest: '' }, makeCall({ signal: leave.signal }))
    setTimeout(() => leave.abort(), 50)
    await expect(pending).rejects.toMatchObject({ code: status.CANCELLED })
    await aborted.promise
  })

  it('survives the failure of a stream that nobody reads', async () => {
    const client = await start({
      // biome-ignore lint/correctness/useYield: it fails before it has anything to give
      async *read(): AsyncGenerator<ReadContentResponse> {
        throw notFound('content digest d')
      },
    })
    client.read({ digest: 'd', offset: 0, size: 0 }, makeCall())
    await expect(client.info({ digest: 'd' }, makeCall())).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
    const late = client.read({ digest: 'd', offset: 0, size: 0 }, makeCall())
    await expect(client.info({ digest: 'd' }, makeCall())).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
    await expect(late[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: status.NOT_FOUND })
  })

  it('passes through a gateway unread, streams, errors and all', async () => {
    await start({
      info: async () => InfoResponse.fromPartial({ info: { digest: 'd' } }),
      status: () => Promise.reject(notFound('reference r')),
      async *read() {
        for (let i = 0; i < 3; i++) yield { offset: i, data: Buffer.from([i]) }
      },
    })
    await using gateway = createRpcServer()
    gateway.addRaw(ContentDefinition, (method, requests, call) => callRaw(channel, method.path, requests, call))
    const outer = connect(await gateway.listen(`unix://${join(dir, 'gateway.sock')}`))
    const client = clientOf(ContentDefinition, outer)
    expect((await client.info({ digest: 'd' }, makeCall())).info?.digest).toBe('d')
    await expect(client.status({ ref: 'r' }, makeCall())).rejects.toMatchObject({
      code: 5,
      message: 'reference r: not found',
    })
    const offsets: number[] = []
    for await (const part of client.read({ digest: 'd', offset: 0, size: 0 }, makeCall())) offsets.push(part.offset)
    expect(offsets).toEqual([0, 1, 2])
    outer.close()
  })

  it('carries the reason of a failure, of calls with one answer and with many', async () => {
    const refuse = () => unavailable('ref r locked', { reason: 'ref-locked' })
    const client = await start({
      info: () => Promise.reject(refuse()),
      // biome-ignore lint/correctness/useYield: it fails before there is anything to answer
      async *write() {
        throw refuse()
      },
    })
    const failure = { code: status.UNAVAILABLE, message: 'ref r locked: unavailable', reason: 'ref-locked' }
    await expect(client.info({ digest: 'd' }, makeCall())).rejects.toMatchObject(failure)
    const answers = client.write((async function* () {})(), makeCall())
    await expect(Array.fromAsync(answers)).rejects.toMatchObject(failure)
  })
})

describe('identifiers and namespaces', () => {
  it.each(['a', 'A-b_c.9', 'x'.repeat(76)])('accepts %s', (name) =>
    expect(() => validateIdentifier(name)).not.toThrow(),
  )
  it.each(['', '-a', 'a-', 'a..b', 'a/b', 'ä', 'x'.repeat(77)])('refuses %j', (name) =>
    expect(() => validateIdentifier(name)).toThrow(/: invalid argument$/),
  )
  it('wants a namespace', () => {
    expect(() => requireNamespace(makeCall())).toThrow('namespace is required: failed precondition')
    expect(() => requireNamespace(makeCall({ namespace: 'a b' }))).toThrow(
      /^namespace validation: identifier "a b" must match/,
    )
  })
})

describe('errors', () => {
  it('end with the text of their class once', () => {
    expect(notFound('image "a"').message).toBe('image "a": not found')
    expect(notFound('task a not found: not found').message).toBe('task a not found: not found')
  })
  it('of no class are UNKNOWN with their text', () => {
    expect(toRpcError(new Error('disk full'))).toMatchObject({ code: status.UNKNOWN, message: 'disk full' })
  })
})
