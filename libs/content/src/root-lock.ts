import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { failedPrecondition } from '@flotilla/rpc'
import koffi from 'koffi'

// Values of <sys/file.h>, the same on every architecture of Linux.
const LOCK_EX = 2
const LOCK_NB = 4

/**
 * Keeps a store's directory to one process. The kernel gives the lock up with the process, however that ends, so there
 * is no stale lock to take over; the pid in the file is for people only.
 *
 * @throws FAILED_PRECONDITION when another process, or another store of this process, has the directory.
 */
export async function lockRoot(root: string): Promise<AsyncDisposable> {
  // The symbols of the process itself: Node is linked with the C library, so no file name of it has to be known.
  const flock = koffi.load(null).func('int flock(int fd, int operation)') as (fd: number, operation: number) => number
  const file = await open(join(root, 'lock'), 'a+', 0o600)
  if (flock(file.fd, LOCK_EX | LOCK_NB) !== 0) {
    const holder = (await file.readFile('utf8')).trim()
    await file.close()
    throw failedPrecondition(`content directory ${root} is in use by process ${holder || 'of unknown id'}`)
  }
  await file.truncate()
  await file.write(`${process.pid}\n`)
  return { [Symbol.asyncDispose]: () => file.close() }
}
