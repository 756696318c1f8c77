import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface TempWorldOptions {
  /** On /dev/shm instead of /tmp: for work whose speed should not depend on the disk. */
  readonly tmpfs?: boolean
  /** Goes into the directory's name, after `flotilla-`. */
  readonly name?: string
}

/** A directory of one's own, and what has to be undone before it can go. */
export interface TempWorld extends AsyncDisposable {
  readonly path: string
  /** A path below the world's directory. */
  join(...parts: string[]): string
  /** Runs before the directory is removed; the last one added runs first. */
  cleanup(undo: () => Promise<void> | void): void
  /** Gives a resource to the world: disposed with it, in the reverse order. */
  own<T extends AsyncDisposable>(resource: T): T
}

/**
 * Makes a private directory `flotilla-…`. Its disposal runs the cleaners, detaches every mount at or below the
 * directory and deletes it.
 */
export async function tempWorld(options: TempWorldOptions = {}): Promise<TempWorld> {
  const parent = options.tmpfs ? '/dev/shm' : tmpdir()
  const path = await mkdtemp(join(parent, `flotilla-${options.name === undefined ? '' : `${options.name}-`}`))
  const stack = new AsyncDisposableStack()
  stack.defer(async () => {
    await unmountBelow(path)
    await rm(path, { recursive: true, force: true, maxRetries: 3 })
  })
  return {
    path,
    join: (...parts) => join(path, ...parts),
    cleanup: (undo) => stack.defer(undo),
    own: (resource) => stack.use(resource),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** The mount points at or below a path, the deepest and latest first. */
export async function mountsBelow(path: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8')
  const points: string[] = []
  for (const line of table.split('\n')) {
    const field = line.split(' ')[4]
    if (field === undefined) continue
    const point = field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    if (point === path || point.startsWith(`${path}/`)) points.push(point)
  }
  return points.reverse()
}

/** Detaches every mount at or below a path; a mount point that is busy is detached lazily. */
export async function unmountBelow(path: string): Promise<void> {
  for (const point of await mountsBelow(path)) {
    await run('umount', ['--lazy', '--no-canonicalize', point]).catch(async (error: unknown) => {
      // A propagated peer may have gone with the one before it.
      if ((await mountsBelow(path)).includes(point)) throw error
    })
  }
}
