import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Removes the logs of containers that are no more. `exists` says which there are. */
export async function sweepLogs(
  directory: string,
  exists: (namespace: string, containerId: string) => Promise<boolean>,
): Promise<void> {
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true }).catch(noDirectory)) {
    if (!file.isFile() || !file.name.endsWith('.log')) continue
    const namespace = file.parentPath.slice(directory.length + 1)
    if (!(await exists(namespace, file.name.slice(0, -'.log'.length))))
      await rm(join(file.parentPath, file.name), { force: true })
  }
}

function noDirectory(error: NodeJS.ErrnoException): never[] {
  if (error.code === 'ENOENT') return []
  throw error
}
