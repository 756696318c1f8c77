import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { failedPrecondition, invalidArgument } from '@flotilla/rpc'

/**
 * A path that is to be made, with its parent resolved.
 *
 * @param what the mount handler that makes it, for errors
 * @throws FAILED_PRECONDITION when its parent is not there, INVALID_ARGUMENT when that is outside of all roots
 */
export async function placeBelow(path: string, roots: readonly string[], what: string): Promise<string> {
  const parent = await realpath(dirname(path)).catch((error: unknown) => {
    throw failedPrecondition(`${what} "${path}": its parent is not there`, { cause: error })
  })
  const isBelow = (root: string) => parent === root || parent.startsWith(`${root}/`)
  if (!(await Promise.all(roots.map((root) => realpath(root)))).some(isBelow))
    throw invalidArgument(`${what} "${path}" is outside of the directories of this daemon`)
  return join(parent, basename(path))
}
