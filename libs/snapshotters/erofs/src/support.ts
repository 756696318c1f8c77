import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Rejects with the reason when images cannot be made or mounted here. */
export async function requireErofs(): Promise<void> {
  // Asking for the module loads it, where modules can be loaded.
  await run('modprobe', ['erofs']).catch(() => {})
  if (!readFileSync('/proc/filesystems', 'utf8').includes('\terofs\n'))
    throw new Error('the kernel has no erofs file system')
  await run('mkfs.erofs', ['--help']).catch((error: NodeJS.ErrnoException) => {
    // Some versions exit with 1 after their help.
    if (error.code === 'ENOENT') throw new Error('mkfs.erofs is not installed (erofs-utils)')
  })
}
