import { mkdtempSync, renameSync } from 'node:fs'
import { chmod, lstat, mkdir, readdir, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, lstatx, mountInfo } from '@flotilla/linux'
import type { Logger } from '@flotilla/log'
import { failedPrecondition, notFound } from '@flotilla/rpc'
import { counterFile, openIdCounter } from './id-counter.ts'

/** A directory for each id, below `ROOT/snapshots`. */
export interface Directories extends AsyncDisposable {
  path(id: string): string
  /** An id for which no directory is made. */
  unused(): Promise<string>
  /**
   * Makes a directory of mode 0700, lets `fill` fill it under another name and then gives it an id: it appears whole or
   * not at all.
   */
  create(fill: (directory: string) => void | Promise<void>): Promise<string>
  /** NOT_FOUND naming the first of these that is not there. */
  require(ids: readonly string[]): void
  /** Deletes directories; FAILED_PRECONDITION for one in which something is mounted. Unknown ids are no error. */
  remove(ids: readonly string[]): Promise<void>
  /** The ids of directories made more than `age` milliseconds ago. */
  ids(age: number): Promise<string[]>
}

const halfMade = 'new-'
const halfRemoved = 'rm-'
const isId = (name: string) => /^[0-9]+$/.test(name)

/** Opens a driver's directories, which `erase` deletes one at a time, there or not; what a killed process left half made or half removed is deleted in the background. */
export async function openDirectories(
  root: string,
  logger: Logger,
  erase: (path: string) => Promise<void> = (path) => rm(path, { recursive: true, force: true }),
): Promise<Directories> {
  const snapshots = join(root, 'snapshots')
  await mkdir(snapshots, { recursive: true, mode: 0o700 })
  for (const directory of [root, snapshots]) await chmod(directory, 0o700)
  const names = await readdir(snapshots)
  const counter = await openIdCounter(
    counterFile(root),
    names.filter(isId).reduce((highest, id) => Math.max(highest, Number(id)), 0),
  )
  const path = (id: string) => join(snapshots, id)

  async function remove(id: string): Promise<void> {
    const removed = path(`${halfRemoved}${id}`)
    try {
      renameSync(path(id), removed)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return
      throw error
    }
    await erase(removed)
  }

  async function clear(): Promise<void> {
    const left = names.filter((name) => name.startsWith(halfMade) || name.startsWith(halfRemoved))
    const mounted = left.length > 0 ? await mountedIn(snapshots) : new Set()
    for (const name of left) {
      try {
        if (mounted.has(name)) throw failedPrecondition('something is mounted in it')
        await erase(path(name))
      } catch (err) {
        logger.warn({ err, directory: path(name) }, 'left half-made snapshot directory')
      }
    }
  }
  const clearing = clear()

  return {
    path,
    unused: () => counter.next(),
    async create(fill) {
      const directory = mkdtempSync(path(halfMade))
      try {
        await fill(directory)
        const id = await counter.next()
        renameSync(directory, path(id))
        return id
      } catch (error) {
        await erase(directory)
        throw error
      }
    },
    require(ids) {
      for (const id of ids) {
        if (!isId(id) || lstatx(path(id)) === undefined) throw notFound(`snapshot directory ${id}`)
      }
    },
    async remove(ids) {
      const known = ids.filter(isId)
      const failures: unknown[] = []
      const mounted = await mountedIn(snapshots)
      for (const id of known) {
        if (mounted.has(id)) failures.push(failedPrecondition(`something is mounted in snapshot directory ${id}`))
        else await remove(id).catch((error) => failures.push(error))
      }
      if (failures.length > 0) throw failures[0]
    },
    async ids(age) {
      const newest = Date.now() - age
      const old: string[] = []
      for (const id of (await readdir(snapshots)).filter(isId)) {
        // The change time: renaming sets it, and no user of a mount can set it back.
        const state = await lstat(path(id)).catch(() => undefined)
        if (state !== undefined && state.ctimeMs <= newest) old.push(id)
      }
      return old
    },
    async [Symbol.asyncDispose]() {
      await clearing
    },
  }
}

/** The names below `directory` at or in which something is mounted: deleting them would go on into that file system. */
async function mountedIn(directory: string): Promise<Set<string>> {
  const real = `${await realpath(directory)}/`
  const targets = mountInfo()
    .map(({ target }) => target)
    .filter((target) => target.startsWith(real))
  return new Set(targets.map((target) => target.slice(real.length).split('/')[0] ?? ''))
}
