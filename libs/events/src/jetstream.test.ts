import { Envelope } from '@flotilla/api/containerd/types/types'
import { encode } from '@flotilla/metadata'
import { startNats } from '@flotilla/testing'
import { connect } from 'nats'
import { describe, expect, it } from 'vitest'
import { createEventStream, FeedConflict } from './jetstream.ts'
import { LogEntry } from './log-entry.ts'

const entry = (sequence: number) => {
  const envelope = encode(Envelope, Envelope.fromPartial({ namespace: 'default', topic: '/test' }))
  return new LogEntry({ sequence, envelope, node: 'n1', at: 0 })
}
const entries = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => entry(from + index))

describe('the stream of events', () => {
  it('takes a batch behind the message that is named, and says when all of it was there', async () => {
    await using server = await startNats()
    const nats = await connect({ servers: server.url })
    using stream = createEventStream(nats)
    await stream.end()
    expect(await stream.append(entries(1, 5), 0, 'log')).toEqual({ repeated: false })
    expect(await stream.append(entries(6, 6), 5, 'log', 5)).toEqual({ repeated: false })
    expect(await stream.append(entries(4, 6), 3, 'log', 3)).toEqual({ repeated: true })
    expect(await stream.append(entries(5, 8), 4, 'log', 4)).toEqual({ repeated: false })
    expect(await stream.end()).toMatchObject({ streamSequence: 8, last: { sequence: 8, logId: 'log' } })
    await nats.close()
  })

  it('takes nothing of a batch whose place is taken', async () => {
    await using server = await startNats()
    const nats = await connect({ servers: server.url })
    using stream = createEventStream(nats)
    await stream.end()
    await stream.append(entries(1, 5), 0, 'log')
    await expect(stream.append(entries(7, 9), 6, 'log', 6)).rejects.toThrow(FeedConflict)
    await expect(stream.append(entries(6, 9), 5, 'log', 4)).rejects.toThrow(FeedConflict)
    // In the middle of a batch: the third one is there under another number.
    await expect(stream.append([...entries(6, 7), entry(2), entry(8)], 5, 'log', 5)).rejects.toThrow(FeedConflict)
    expect(await stream.end()).toMatchObject({ streamSequence: 7, last: { sequence: 7 } })
    await nats.close()
  })

  it('says that there is none', async () => {
    await using server = await startNats()
    const nats = await connect({ servers: server.url })
    using stream = createEventStream(nats)
    await stream.end()
    await stream.remove()
    await expect(stream.append(entries(1, 3), 0, 'log')).rejects.toThrow('503')
    await nats.close()
  })
})
