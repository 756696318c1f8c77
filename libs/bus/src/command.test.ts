import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { CollectorDefinition, CollectResponse } from '@flotilla/api/flotilla/gc/v1/gc'
import { failedPrecondition, makeCall, status } from '@flotilla/rpc'
import { startNats } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bus, commandClient, createBus, serveCommands } from './index.ts'
import { commandSubject } from './subject.ts'

const answer = { images: 1, content: 2, snapshots: 3, ingests: 4, leases: 5 }

describe('a command to a node', () => {
  let server: Awaited<ReturnType<typeof startNats>>
  let bus: Bus
  beforeAll(async () => {
    server = await startNats()
    bus = await createBus({ url: server.url, name: 'test' })
  })
  afterAll(async () => {
    await bus[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  it('reaches the node with its namespace, lease and metadata, and brings back the answer', async () => {
    const calls: unknown[] = []
    await using _ = serveCommands(bus.nats, 'node.one', CollectorDefinition, {
      async collect(_, call) {
        calls.push([call.namespace, call.lease, call.metadata.get('flotilla-node')])
        return answer
      },
    })
    const client = commandClient(bus.nats, 'node.one', CollectorDefinition)
    await expect(
      client.collect({}, makeCall({ namespace: 'k8s.io', lease: 'l 1', metadata: { 'flotilla-node': 'ä' } })),
    ).resolves.toEqual(answer)
    expect(calls).toEqual([['k8s.io', 'l 1', 'ä']])
  })

  it('fails with the code, text and reason of the node', async () => {
    await using _ = serveCommands(bus.nats, 'b', CollectorDefinition, {
      collect: () => Promise.reject(failedPrecondition('not\nnow', { reason: 'busy' })),
    })
    await expect(commandClient(bus.nats, 'b', CollectorDefinition).collect({}, makeCall())).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'not\nnow: failed precondition',
      reason: 'busy',
    })
  })

  it('is UNAVAILABLE with the name of a node that nobody serves', async () => {
    await expect(commandClient(bus.nats, 'nobody', CollectorDefinition).collect({}, makeCall())).rejects.toMatchObject({
      code: status.UNAVAILABLE,
      message: expect.stringContaining('"nobody"'),
    })
  })

  it('may take longer than the silence limit while the node works', async () => {
    await using _ = serveCommands(bus.nats, 'slow', CollectorDefinition, {
      collect: () => new Promise((resolve) => setTimeout(() => resolve(answer), 4_000)),
    })
    await expect(commandClient(bus.nats, 'slow', CollectorDefinition).collect({}, makeCall())).resolves.toEqual(answer)
  }, 20_000)

  it('is answered although the caller itself did nothing for longer than the silence limit', async () => {
    const node = new Worker(new URL('./testing/node-thread.ts', import.meta.url), {
      workerData: {
        url: server.url,
        subject: commandSubject('beside', CollectorDefinition.fullName, CollectorDefinition.methods.collect.name),
        answer: CollectResponse.encode(CollectResponse.fromPartial(answer)).finish(),
      },
    })
    try {
      await once(node, 'message')
      const answered = commandClient(bus.nats, 'beside', CollectorDefinition).collect({}, makeCall())
      answered.catch(() => {})
      // The command leaves; its answer comes while nobody reads.
      await sleep(100)
      // Where the next to come are timers.
      await turn()
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_000)
      expect(await answered).toEqual(answer)
    } finally {
      await node.terminate()
    }
  }, 20_000)

  it('is cancelled on the node when the caller leaves', async () => {
    const cancelled = Promise.withResolvers<void>()
    await using _ = serveCommands(bus.nats, 'c', CollectorDefinition, {
      collect: (_, call) =>
        new Promise((_, reject) => {
          call.signal.addEventListener('abort', () => {
            cancelled.resolve()
            reject(call.signal.reason)
          })
        }),
    })
    const leave = new AbortController()
    const pending = commandClient(bus.nats, 'c', CollectorDefinition).collect({}, makeCall({ signal: leave.signal }))
    setTimeout(() => leave.abort(new Error('left')), 50)
    await expect(pending).rejects.toThrow('left')
    await cancelled.promise
  })
})
