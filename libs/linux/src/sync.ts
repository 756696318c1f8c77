import { closeSync, constants, openSync } from 'node:fs'
import { bind, checkAsync, type Path } from './libc.ts'

const native = bind('int syncfs(int fd)')

/** Writes back the whole file system that holds the path; answers when it is on disk. */
export async function syncfs(path: Path): Promise<void> {
  const fd = openSync(typeof path === 'string' ? path : Buffer.from(path), constants.O_RDONLY)
  try {
    await checkAsync(native, [fd], 'syncfs', path)
  } finally {
    closeSync(fd)
  }
}
