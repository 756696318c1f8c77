import { TaskDelete, TaskExit } from '@flotilla/api/containerd/events/events'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Journal } from './journal.ts'
import { Ledger } from './ledger.ts'
import { Recorder } from './recorder.ts'

const exit = (seconds: number, pid = 10, id = 'c') =>
  Envelope.fromPartial({
    namespace: 'n',
    topic: '/tasks/exit',
    event: {
      typeUrl: 'containerd.events.TaskExit',
      value: Buffer.from(
        TaskExit.encode(
          TaskExit.fromPartial({ containerId: 'c', id, pid, exitStatus: 3, exitedAt: { seconds, nanos: 1 } }),
        ).finish(),
      ),
    },
  })

const deletion = Envelope.fromPartial({
  namespace: 'n',
  topic: '/tasks/delete',
  event: {
    typeUrl: 'containerd.events.TaskDelete',
    value: Buffer.from(
      TaskDelete.encode(
        TaskDelete.fromPartial({ containerId: 'c', pid: 10, exitStatus: 3, exitedAt: { seconds: 5, nanos: 1 } }),
      ).finish(),
    ),
  },
})

const key = { namespace: 'n', id: 'c', execId: '', pid: 10 }
const found = { pid: 10, status: 3, at: { seconds: 5, nanos: 1 } }

describe('the end of a process', () => {
  let temp: TempWorld
  let journal: Journal
  let ledger: Ledger
  let recorder: Recorder

  async function open() {
    journal = await Journal.open(temp.join('journal'))
    ledger = new Ledger()
    recorder = new Recorder(journal, ledger, () => {})
    await recorder.recall()
  }

  beforeEach(async () => {
    temp = await tempWorld({ name: 'ends' })
    await open()
  })

  afterEach(async () => {
    await journal[Symbol.asyncDispose]()
    await temp[Symbol.asyncDispose]()
  })

  async function topics(): Promise<string[]> {
    const kept: string[] = []
    for await (const { envelope } of journal.entries()) kept.push(envelope.topic)
    return kept
  }

  it('is told once when the shim sends it again, at once, later and after a restart', async () => {
    await Promise.all([recorder.record(exit(5)), recorder.record(exit(5))])
    await recorder.record(exit(5))
    await journal[Symbol.asyncDispose]()
    await open()
    await recorder.record(exit(5))
    await recorder.synthesize('exit', key, found)
    expect(await topics()).toEqual(['/tasks/exit'])
  })

  it('is told for each process: execs, and a process id that comes again', async () => {
    await recorder.record(exit(5))
    await recorder.record(exit(5, 10, 'exec'))
    await recorder.record(exit(5, 11))
    await recorder.record(exit(9))
    expect(await topics()).toHaveLength(4)
  })

  it('comes before its deletion, whatever the order in which a shim tells them', async () => {
    await recorder.record(deletion)
    await recorder.record(exit(5))
    await recorder.record(exit(6))
    expect(await topics()).toEqual(['/tasks/exit', '/tasks/delete'])
  })

  it('that we worked out is not told again by the shim', async () => {
    await recorder.synthesize('exit', key, found)
    await recorder.record(exit(77))
    expect(await topics()).toEqual(['/tasks/exit'])
  })

  it('is waited for until it is on disk', async () => {
    expect(await ledger.wait('exit', key, 1)).toBe(false)
    const waiting = ledger.wait('exit', key, 60_000)
    await recorder.record(exit(5))
    expect(await waiting).toBe(true)
    expect(await ledger.wait('exit', key, 0)).toBe(true)
    expect(ledger.lastExit('n', 'c', '')).toEqual(found)
  })

  it('is forgotten when it is old and its task is gone', async () => {
    await recorder.record(exit(5))
    const later = Date.now() + 3_600_000
    ledger.expire(() => true, later)
    expect(ledger.has('exit', key)).toBe(true)
    ledger.expire(() => false, later)
    expect(ledger.has('exit', key)).toBe(false)
  })
})
