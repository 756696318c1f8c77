import { randomBytes } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  type Stats,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { readdir, readFile, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { errnoOf } from '@flotilla/linux'
import type { NewIngest, Owner, StoredIngest } from './bytes.ts'
import { internalRef, type Layout, parseInternalRef } from './layout.ts'
import { formatTime, fromNanos, later, parseTime } from './timestamps.ts'

// Small files and names are made and removed on this thread: each such call takes a few µs, handing it to a thread of the
// pool and hearing of its end 15 to 20, and an ingest comes and goes with some thirty.

/** What an ingest's directory holds beside the bytes. */
const notes = ['ref', 'startedat', 'updatedat', 'total'] as const

/** Bytes of a file up to which it is freed as fast as its name is removed. */
const freedAtOnce = 64 * 1024

export const dataFile = (directory: string): string => join(directory, 'data')

/** A name in the ingests' directory that is no ingest: one being made or being removed. Start removes such. */
const passing = (layout: Layout): string => join(layout.ingests, `.${randomBytes(8).toString('hex')}`)

/**
 * Makes an empty ingest, in place of one that may be there. It appears whole: `fill` may put the first bytes into its
 * data file before anybody can see it.
 */
export async function createIngest(
  layout: Layout,
  ingest: NewIngest,
  fill: (data: string) => unknown = (data) => writeFileSync(data, ''),
): Promise<void> {
  const made = passing(layout)
  mkdirSync(made)
  try {
    const time = formatTime(ingest.startedAt)
    writeFileSync(join(made, 'ref'), internalRef(ingest.namespace, ingest.ref))
    writeFileSync(join(made, 'startedat'), time)
    writeFileSync(join(made, 'updatedat'), time)
    if (ingest.total > 0) writeFileSync(join(made, 'total'), String(ingest.total))
    await fill(dataFile(made))
    const directory = layout.ingest(ingest.namespace, ingest.ref)
    try {
      renameSync(made, directory)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error
      await removeIngest(layout, directory)
      renameSync(made, directory)
    }
  } catch (error) {
    await rm(made, { recursive: true, force: true })
    throw error
  }
}

/** What an ingest's directory holds; undefined when there is none, or none that can be read. */
export function readIngest(directory: string): StoredIngest | undefined {
  const note = (name: (typeof notes)[number]) => readFileSync(join(directory, name), 'utf8')
  try {
    // Most often there is none, which one look tells.
    const data = statSync(dataFile(directory), { bigint: true, throwIfNoEntry: false })
    if (data === undefined) return undefined
    const [startedAt, updatedAt] = [note('startedat'), note('updatedat')]
    // Without a total there is no file of it.
    const hasTotal = statSync(join(directory, 'total'), { throwIfNoEntry: false }) !== undefined
    const total = hasTotal ? note('total') : '0'
    const written = fromNanos(data.mtimeNs)
    return {
      offset: Number(data.size),
      startedAt: parseTime(startedAt) ?? written,
      // The file is written when a writer leaves; after a crash the bytes' own time is later.
      updatedAt: later(parseTime(updatedAt) ?? written, written),
      total: Number.parseInt(total, 10) || 0,
    }
  } catch {
    return undefined
  }
}

export function noteUpdate(directory: string, time: Timestamp): void {
  writeFileSync(join(directory, 'updatedat'), formatTime(time))
}

/** Removes a name, if there is one. */
function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

/** The same, without holding up this thread for as long as many bytes take. */
async function removeData(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (isFreedAtOnce(found)) unlinkSync(path)
  else await unlink(path)
}

/** Whether a file's bytes are few, or stay under another name. */
export const isFreedAtOnce = ({ nlink, size }: Stats): boolean => nlink > 1 || size <= freedAtOnce

/** Removes an ingest's directory; it is gone for everybody at once, however long its bytes take. Absent is fine. */
export async function removeIngest(layout: Layout, directory: string): Promise<void> {
  const leaving = passing(layout)
  try {
    renameSync(directory, leaving)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  try {
    // By name, as they were made: finding out what there is takes three times as many calls.
    for (const name of notes) remove(join(leaving, name))
    await removeData(dataFile(leaving))
    rmdirSync(leaving)
  } catch {
    await rm(leaving, { recursive: true, force: true })
  }
}

export interface FoundIngest {
  readonly directory: string
  /** Undefined for what no ingest can become of. */
  readonly owner: Owner | undefined
}

/** Every directory of ingests, also what a crash left half made or half removed. */
export async function findIngests(layout: Layout): Promise<FoundIngest[]> {
  const names = await readdir(layout.ingests)
  const found: FoundIngest[] = []
  // A few at a time: there may be thousands, and each is a file to open.
  for (let i = 0; i < names.length; i += 32)
    found.push(
      ...(await Promise.all(
        names.slice(i, i + 32).map(async (name) => {
          const directory = join(layout.ingests, name)
          if (name.startsWith('.')) return { directory, owner: undefined }
          const text = await readFile(join(directory, 'ref'), 'utf8').catch(() => '')
          const owner = parseInternalRef(text)
          // A directory that is not where its ref says would never be found again.
          const misplaced = owner !== undefined && layout.ingest(owner.namespace, owner.ref) !== directory
          return { directory, owner: misplaced ? undefined : owner }
        }),
      )),
    )
  return found
}
