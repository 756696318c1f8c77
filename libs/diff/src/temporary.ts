import { mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { unmountAll } from '@flotilla/linux'

/**
 * Makes the directory for temporary mounts and files. What a process that was killed left there is unmounted and
 * removed; directories only when they are empty, so that no file behind a mount is ever touched.
 */
export async function prepareTemporary(tmpDir: string): Promise<void> {
  await mkdir(tmpDir, { recursive: true, mode: 0o700 })
  await unmountAll(tmpDir)
  for (const entry of await readdir(tmpDir, { withFileTypes: true })) {
    const path = join(tmpDir, entry.name)
    if (!entry.isDirectory()) {
      await unlink(path)
      continue
    }
    for (const name of await readdir(path)) await rmdir(join(path, name)).catch(() => {})
    await rmdir(path).catch(() => {})
  }
}
