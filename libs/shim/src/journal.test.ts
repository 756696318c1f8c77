import { appendFile, readdir, truncate } from 'node:fs/promises'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Journal } from './journal.ts'

const event = (topic: string, size = 0) =>
  Envelope.fromPartial({ namespace: 'n', topic, event: { typeUrl: 't', value: Buffer.alloc(size, 1) } })

describe('the journal', () => {
  let temp: TempWorld
  let folder: string
  const signal = new AbortController().signal

  beforeEach(async () => {
    temp = await tempWorld({ name: 'journal' })
    folder = temp.join('journal')
  })

  afterEach(() => temp[Symbol.asyncDispose]())

  async function read(journal: Journal): Promise<string[]> {
    const topics: string[] = []
    while (journal.pending > 0) {
      const { envelope, sequence } = await journal.next(signal)
      topics.push(envelope.topic)
      await journal.delivered(sequence)
    }
    return topics
  }

  it('gives back what was appended, in order, over restarts and segments', async () => {
    const sent: string[] = []
    let last = 0
    for (let run = 0; run < 3; run++) {
      await using journal = await Journal.open(folder)
      for (let round = 0; round < 6; round++) {
        const topics = Array.from({ length: 50 }, (_, i) => `/${run}/${round}/${i}`)
        const sequences = await Promise.all(topics.map((topic) => journal.append(event(topic, 3_000))))
        expect(sequences).toEqual(topics.map((_, i) => sequences[0]! + i))
        expect(sequences[0]).toBeGreaterThan(last)
        last = sequences.at(-1)!
        sent.push(...topics)
      }
    }
    expect((await readdir(folder)).filter((name) => name.endsWith('.log')).length).toBeGreaterThan(2)
    await using journal = await Journal.open(folder)
    expect(journal.pending).toBe(sent.length)
    expect(await read(journal)).toEqual(sent)
    const kept: string[] = []
    for await (const { envelope } of journal.entries()) kept.push(envelope.topic)
    expect(kept).toEqual(sent)
  })

  it('goes on after the last delivered entry', async () => {
    {
      await using journal = await Journal.open(folder)
      for (const topic of ['/a', '/b', '/c']) await journal.append(event(topic))
      await journal.delivered((await journal.next(signal)).sequence)
    }
    await using journal = await Journal.open(folder)
    expect(await read(journal)).toEqual(['/b', '/c'])
  })

  it('takes an entry that is larger than one read', async () => {
    await using journal = await Journal.open(folder)
    await journal.append(event('/small'))
    await journal.append(event('/large', 3_000_000))
    await journal.append(event('/after'))
    expect(await read(journal)).toEqual(['/small', '/large', '/after'])
  })

  it('wakes a reader that waits, and lets it leave', async () => {
    await using journal = await Journal.open(folder)
    const waiting = journal.next(signal)
    await journal.append(event('/woken'))
    expect((await waiting).envelope.topic).toBe('/woken')
    await journal.delivered((await waiting).sequence)
    const leaving = new AbortController()
    const left = journal.next(leaving.signal)
    leaving.abort(new Error('left'))
    await expect(left).rejects.toThrow('left')
  })

  it.each([1, 5, 9, 20])(
    'drops a last record that lacks %i bytes, and its sequence is given again',
    async (missing) => {
      let second: number
      {
        await using journal = await Journal.open(folder)
        await journal.append(event('/whole'))
        second = await journal.append(event('/cut'))
      }
      const file = `${folder}/${(await readdir(folder)).find((name) => name.endsWith('.log'))}`
      const { stat } = await import('node:fs/promises')
      await truncate(file, (await stat(file)).size - missing)
      await using journal = await Journal.open(folder)
      expect(await journal.append(event('/again'))).toBe(second)
      expect(await read(journal)).toEqual(['/whole', '/again'])
    },
  )

  it('drops garbage at its end', async () => {
    {
      await using journal = await Journal.open(folder)
      await journal.append(event('/whole'))
    }
    await appendFile(`${folder}/${(await readdir(folder)).find((name) => name.endsWith('.log'))}`, Buffer.alloc(100, 3))
    await using journal = await Journal.open(folder)
    await journal.append(event('/after'))
    expect(await read(journal)).toEqual(['/whole', '/after'])
  })

  it('never gives a sequence twice, even when it was lost', async () => {
    let last = 0
    for (let i = 0; i < 2; i++) {
      await using journal = await Journal.open(temp.join(`journal-${i}`))
      const sequence = await journal.append(event('/a'))
      expect(sequence).toBeGreaterThan(last)
      expect(Number.isSafeInteger(sequence)).toBe(true)
      last = sequence
    }
  })
})
