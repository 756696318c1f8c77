import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { errnoOf } from '@flotilla/linux'
import type { NewIngest, Owner, StoredIngest } from './bytes.ts'
import { internalRef, type Layout, parseInternalRef } from './layout.ts'
import { formatTime, fromNanos, later, parseTime } from './timestamps.ts'

/** What an ingest's directory holds. */
const files = ['data', 'ref', 'startedat', 'updatedat', 'total'] as const

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
  fill: (data: string) => Promise<unknown> = (data) => writeFile(data, ''),
): Promise<void> {
  const made = passing(layout)
  await mkdir(made)
  try {
    const time = formatTime(ingest.startedAt)
    await Promise.all([
      writeFile(join(made, 'ref'), internalRef(ingest.namespace, ingest.ref)),
      writeFile(join(made, 'startedat'), time),
      writeFile(join(made, 'updatedat'), time),
      ingest.total > 0 ? writeFile(join(made, 'total'), String(ingest.total)) : undefined,
      fill(dataFile(made)),
    ])
    const directory = layout.ingest(ingest.namespace, ingest.ref)
    await rename(made, directory).catch(async (error: unknown) => {
      const errno = errnoOf(error)
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error
      await removeIngest(layout, directory)
      await rename(made, directory)
    })
  } catch (error) {
    await rm(made, { recursive: true, force: true })
    throw error
  }
}

/** What an ingest's directory holds; undefined when there is none, or none that can be read. */
export async function readIngest(directory: string): Promise<StoredIngest | undefined> {
  try {
    // Most often there is none, which one look tells.
    const data = await stat(dataFile(directory), { bigint: true })
    const [startedAt, updatedAt, total] = await Promise.all([
      readFile(join(directory, 'startedat'), 'utf8'),
      readFile(join(directory, 'updatedat'), 'utf8'),
      readFile(join(directory, 'total'), 'utf8').catch(() => '0'),
    ])
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

export async function noteUpdate(directory: string, time: Timestamp): Promise<void> {
  await writeFile(join(directory, 'updatedat'), formatTime(time))
}

function unlessAbsent(error: unknown): void {
  if (errnoOf(error) !== 'ENOENT') throw error
}

/** Removes an ingest's directory; it is gone for everybody at once, however long its bytes take. Absent is fine. */
export async function removeIngest(layout: Layout, directory: string): Promise<void> {
  const leaving = passing(layout)
  try {
    await rename(directory, leaving)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  try {
    // By name, as they were made: finding out what there is takes three times as many calls.
    await Promise.all(files.map((name) => unlink(join(leaving, name)).catch(unlessAbsent)))
    await rmdir(leaving)
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
