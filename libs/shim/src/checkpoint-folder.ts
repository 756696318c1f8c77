import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '@flotilla/linux'

/** Age after which a checkpoint on its way to or from content counts as left by a crash, milliseconds. */
const abandonedAfter = 3_600_000

function parentOf(root: string): string {
  return join(root, 'flotilla.node.v1.tasks', 'checkpoints')
}

/** Makes a directory for one checkpoint, which whoever asked for it removes. */
export async function checkpointFolder(root: string): Promise<string> {
  const parent = parentOf(root)
  await mkdir(parent, { recursive: true, mode: 0o700 })
  return await mkdtemp(join(parent, 'checkpoint-'))
}

/** Removes checkpoints that nobody will come for. */
export async function removeAbandonedCheckpoints(root: string, time = Date.now()): Promise<void> {
  const parent = parentOf(root)
  const names = await readdir(parent).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
  for (const name of names) {
    const path = join(parent, name)
    const { mtimeMs } = await stat(path)
    if (time - mtimeMs > abandonedAfter) await rm(path, { recursive: true, force: true })
  }
}
