import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { decodeRecord, encodeRecord } from './journal-segment.ts'

/** A segment that has grown to this size is followed by a new one, bytes. */
const segmentBytes = 1 << 20

/** Appended entries that are kept for delivery, so that they need not be read. */
const mostAhead = 1_000

/** A write of an entry returns when it is on disk. */
const writing = constants.O_RDWR | constants.O_DSYNC

/** How much is read at a time for delivery, bytes. */
const readBytes = 1 << 16

/**
 * How long a delivered segment is kept, milliseconds: longer than any shim goes on sending an event again, so that a
 * repeat is recognised after a restart.
 */
const retention = 10 * 60_000

export interface JournalEntry {
  /** Rises by one with each entry and is never used again on this node, even when the journal was lost. */
  readonly sequence: number
  readonly envelope: Envelope
}

interface Segment {
  readonly first: number
  readonly path: string
  count: number
  /** Length of the whole records, bytes. */
  size: number
  /** When it was last written, milliseconds since the epoch. */
  written: number
}

/**
 * Events of this node on disk, in order. An appended entry is on disk when `append` resolves; appends at one moment
 * share one flush. What was delivered is remembered too, but not flushed: after a power cut some entries may be
 * delivered again, under the same sequence.
 */
export class Journal implements AsyncDisposable {
  readonly #folder: string
  readonly #segments: Segment[]
  #file: FileHandle
  #delivered: number
  #waiting: {
    record: Buffer
    envelope: Envelope
    done: (sequence: number) => void
    failed: (error: unknown) => void
  }[] = []
  #flushing: Promise<void> | undefined
  #grown = Promise.withResolvers<void>()
  /** Entries that are ready for delivery, in order and without a gap; what comes after them is read from the files. */
  #ahead: JournalEntry[] = []
  /** The entry that reading goes on with, and where its segment holds it. */
  #cursor: { segment: Segment | undefined; offset: number; sequence: number } = {
    segment: undefined,
    offset: 0,
    sequence: 0,
  }
  /** Holds the sequence of the last delivered entry. */
  readonly #mark: FileHandle

  private constructor(folder: string, segments: Segment[], file: FileHandle, mark: FileHandle, delivered: number) {
    this.#folder = folder
    this.#segments = segments
    this.#file = file
    this.#mark = mark
    this.#delivered = delivered
  }

  /** Opens or makes the journal in a folder. Half a record at the end, left by a crash, is overwritten. */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const segments: Segment[] = []
    for (const name of (await readdir(folder)).sort()) {
      const first = /^(\d{20})\.log$/.exec(name)?.[1]
      if (first !== undefined) segments.push(await readSegment(join(folder, name), Number(first)))
    }
    const mark = await open(join(folder, 'delivered'), constants.O_RDWR | constants.O_CREAT, 0o600)
    const delivered = Number(await mark.readFile('utf8')) || 0
    const last = segments.at(-1)
    // Microseconds since the epoch: above every sequence that a lost journal of this node can have given.
    const current = last ?? (await addSegment(folder, Math.max(Date.now() * 1_000, delivered + 1)))
    if (!last) segments.push(current)
    return new Journal(folder, segments, await open(current.path, writing), mark, delivered)
  }

  /** Everything that is still kept, delivered or not, oldest first. */
  async *entries(): AsyncGenerator<JournalEntry> {
    for (const segment of [...this.#segments]) {
      const bytes = (await readFile(segment.path)).subarray(0, segment.size)
      let sequence = segment.first
      for (let at = decodeRecord(bytes, 0); at; at = decodeRecord(bytes, at.next))
        yield { sequence: sequence++, envelope: Envelope.decode(at.payload) }
    }
  }

  /** Adds an entry; resolves with its sequence when it is on disk. */
  append(envelope: Envelope): Promise<number> {
    const record = encodeRecord(Envelope.encode(envelope).finish())
    return new Promise((done, failed) => {
      this.#waiting.push({ record, envelope, done, failed })
      this.#flushing ??= this.#flush()
    })
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        const segment = await this.#writable()
        const bytes = Buffer.concat(batch.map(({ record }) => record))
        await this.#file.write(bytes, 0, bytes.length, segment.size)
        const first = segment.first + segment.count
        if (first === this.#nextAhead && this.#ahead.length < mostAhead)
          this.#ahead.push(...batch.map(({ envelope }, i) => ({ sequence: first + i, envelope })))
        segment.size += bytes.length
        segment.count += batch.length
        segment.written = Date.now()
        this.#grown.resolve()
        this.#grown = Promise.withResolvers()
        for (const [i, { done }] of batch.entries()) done(first + i)
      } catch (error) {
        for (const { failed } of batch) failed(error)
      }
    }
    // In the same step as the look that found nothing waiting, or an append in between would wait for ever.
    this.#flushing = undefined
  }

  /** The entry that would follow those that are ready for delivery. */
  get #nextAhead(): number {
    const last = this.#ahead.at(-1)?.sequence ?? this.#delivered
    return Math.max(last + 1, (this.#segments[0] as Segment).first)
  }

  /** The segment to write to, after starting a new one when the last is full. */
  async #writable(): Promise<Segment> {
    const last = this.#segments.at(-1) as Segment
    if (last.size < segmentBytes) return last
    const next = await addSegment(this.#folder, last.first + last.count)
    const file = await open(next.path, writing)
    await this.#file.close()
    this.#file = file
    this.#segments.push(next)
    await this.#trim()
    return next
  }

  /** The first entry that was not delivered yet; waits for one when there is none. */
  async next(signal: AbortSignal): Promise<JournalEntry> {
    for (;;) {
      signal.throwIfAborted()
      const grown = this.#grown.promise
      while (this.#ahead[0] && this.#ahead[0].sequence <= this.#delivered) this.#ahead.shift()
      if (this.#ahead.length === 0) this.#ahead = await this.#read(this.#delivered + 1)
      if (this.#ahead[0]) return this.#ahead[0]
      await aborting(grown, signal)
    }
  }

  /** Some entries from a sequence on; none when it is still to come. */
  async #read(wanted: number): Promise<JournalEntry[]> {
    const segment = this.#segments.findLast(({ first }) => first <= wanted) ?? (this.#segments[0] as Segment)
    const from = Math.max(wanted, segment.first)
    if (from >= segment.first + segment.count) return []
    const going = this.#cursor.segment === segment && this.#cursor.sequence <= from
    let { offset, sequence } = going ? this.#cursor : { offset: 0, sequence: segment.first }
    const file = await open(segment.path, 'r')
    try {
      const entries: JournalEntry[] = []
      for (let length = readBytes; entries.length === 0; length *= 2) {
        const bytes = Buffer.allocUnsafe(Math.min(length, segment.size - offset))
        await file.read(bytes, 0, bytes.length, offset)
        let end = 0
        for (let record = decodeRecord(bytes, 0); record; record = decodeRecord(bytes, end)) {
          if (sequence >= from) entries.push({ sequence, envelope: Envelope.decode(record.payload) })
          sequence++
          end = record.next
        }
        offset += end
        if (end === 0 && bytes.length < length) throw new Error(`${segment.path} has no entry ${from}`)
      }
      this.#cursor = { segment, offset, sequence }
      return entries
    } finally {
      await file.close()
    }
  }

  /** Says that all entries up to this one were delivered. */
  async delivered(sequence: number): Promise<void> {
    this.#delivered = sequence
    await this.#mark.write(String(sequence).padStart(20, '0'), 0)
  }

  /** How many entries wait to be delivered. */
  get pending(): number {
    const last = this.#segments.at(-1) as Segment
    return last.first + last.count - Math.max(this.#delivered + 1, (this.#segments[0] as Segment).first)
  }

  async #trim(): Promise<void> {
    for (;;) {
      const [oldest, next] = this.#segments
      if (!oldest || !next || this.#delivered + 1 < next.first || Date.now() - oldest.written < retention) return
      await rm(oldest.path)
      this.#segments.shift()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flushing
    await this.#file.close()
    await this.#mark.close()
  }
}

async function addSegment(folder: string, first: number): Promise<Segment> {
  const path = join(folder, `${String(first).padStart(20, '0')}.log`)
  await writeFile(path, '', { mode: 0o600 })
  // The file's name has to survive a power cut as its contents do.
  const directory = await open(folder)
  await directory.sync()
  await directory.close()
  return { first, path, count: 0, size: 0, written: Date.now() }
}

async function readSegment(path: string, first: number): Promise<Segment> {
  const bytes = await readFile(path)
  const segment: Segment = { first, path, count: 0, size: 0, written: (await stat(path)).mtimeMs }
  for (let at = decodeRecord(bytes, 0); at; at = decodeRecord(bytes, at.next)) {
    segment.count++
    segment.size = at.next
  }
  if (segment.size < bytes.length) {
    // Longer old bytes after a shorter new record could be read as one.
    const file = await open(path, 'r+')
    await file.truncate(segment.size)
    await file.close()
  }
  return segment
}

function aborting(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
  })
}
