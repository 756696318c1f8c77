import { chmod, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { notFound } from '@flotilla/rpc'
import { counterFile, openIdCounter } from '@flotilla/snapshot-driver'

/** What one of our ids is called over there. */
export interface RemoteNames {
  /** The containerd namespace in which it was made. */
  readonly namespace: string
  /** Its key while it is active; empty when it was never ours to write. */
  readonly active: string
  /** Its name once it is committed, written before that is asked for; empty before. */
  readonly committed: string
}

/** One small file for each id, below `ROOT/snapshots`: written before the snapshot is asked for, deleted after it is gone. */
export interface NameFiles {
  /** NOT_FOUND when there is no such id. */
  get(id: string): RemoteNames
  find(id: string): RemoteNames | undefined
  /** An id that was never given before. */
  next(): Promise<string>
  put(id: string, names: RemoteNames): Promise<void>
  delete(id: string): Promise<void>
  /** Whether another id means the same snapshot: the program over there may give one to several namespaces. */
  isShared(id: string): boolean
  /** Ids whose file was written more than `age` milliseconds ago. */
  older(age: number): Promise<string[]>
}

const isId = (name: string) => /^[1-9]\d*$/.test(name)

export async function openNameFiles(root: string): Promise<NameFiles> {
  const folder = join(root, 'snapshots')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(root, 0o700)
  const known = new Map<string, RemoteNames>()
  for (const name of await readdir(folder)) {
    // What was being written when the process died was not asked for yet.
    if (!isId(name)) await rm(join(folder, name))
    else known.set(name, JSON.parse(await readFile(join(folder, name), 'utf8')))
  }
  const counter = await openIdCounter(counterFile(root), Math.max(0, ...[...known.keys()].map(Number)))

  async function write(id: string, names: RemoteNames): Promise<void> {
    const draft = join(folder, `new-${id}`)
    const file = await open(draft, 'w', 0o600)
    try {
      await file.writeFile(JSON.stringify(names))
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(draft, join(folder, id))
  }

  return {
    find: (id) => known.get(id),
    get(id) {
      const names = known.get(id)
      if (names === undefined) throw notFound(`snapshot directory ${id}`)
      return names
    },
    next: () => counter.next(),
    async put(id, names) {
      await write(id, names)
      known.set(id, names)
    },
    async delete(id) {
      await rm(join(folder, id), { force: true })
      known.delete(id)
    },
    isShared(id) {
      const name = known.get(id)?.committed
      if (!name) return false
      return [...known].some(([other, names]) => other !== id && names.committed === name)
    },
    async older(age) {
      const newest = Date.now() - age
      const ids: string[] = []
      for (const id of known.keys()) {
        const state = await lstat(join(folder, id)).catch(() => undefined)
        if (state !== undefined && state.ctimeMs <= newest) ids.push(id)
      }
      return ids
    },
  }
}
