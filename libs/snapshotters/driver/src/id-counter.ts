import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errnoOf } from '@flotilla/linux'

/** Ids reserved by one write to disk. A restart skips those that were reserved and not used. */
const block = 64

/** The counter's file in a driver's root. */
export const counterFile = (root: string): string => join(root, 'last-id')

/** Hands out numbers that were never handed out before, over restarts and kills. */
export interface IdCounter {
  next(): Promise<string>
}

/**
 * A counter whose file holds the highest number that may be in use. `least` is a number known to be in use, for the case
 * that the file was lost.
 */
export async function openIdCounter(path: string, least: number): Promise<IdCounter> {
  let last = Math.max(least, await highestReserved(path))
  let reserved = last
  let reserving: Promise<void> | undefined

  async function reserve(): Promise<void> {
    const highest = last + block
    await writeDurably(path, `${highest}\n`)
    reserved = highest
  }

  return {
    async next() {
      while (last >= reserved) {
        reserving ??= reserve().finally(() => {
          reserving = undefined
        })
        await reserving
      }
      return String(++last)
    },
  }
}

/**
 * Gives a driver's root without a counter one that goes on after `least()`, which is asked for in that case only: a root
 * that was emptied, beside records that were kept, would give ids a second time, and with them one snapshot's files to
 * another.
 *
 * @returns the number that it goes on after; undefined when there was a counter, or nothing to go on after
 */
export async function continueIds(root: string, least: () => Promise<number>): Promise<number | undefined> {
  if ((await highestReserved(counterFile(root))) > 0) return undefined
  const number = await least()
  if (number === 0) return undefined
  await mkdir(root, { recursive: true, mode: 0o700 })
  await writeDurably(counterFile(root), `${number}\n`)
  return number
}

async function highestReserved(path: string): Promise<number> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0
    throw error
  }
  const number = Number(text)
  // Guessing would give an id twice, and with it one container's files to another.
  if (!/^\d+\n$/.test(text) || !Number.isSafeInteger(number)) throw new Error(`${path} does not hold a number`)
  return number
}

async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), '.last-id.new')
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.datasync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
