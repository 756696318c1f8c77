import { setImmediate as nextTurn } from 'node:timers/promises'
import { errnoOf, fileType, utimens } from '@flotilla/linux'
import { type ByteString, toPath } from '../tar/bytes.ts'
import type { ImpliedDirectory } from './layer-writer.ts'
import { LowerParents } from './lower-parents.ts'
import { RootTree, type TreeDirectory } from './root-tree.ts'

export interface AdoptRequest {
  /** Directory with the layer. */
  readonly upper: string
  /** Those of the layers below it, nearest first. */
  readonly lowers: readonly string[]
  /** What `applyLayer` said of the layer. */
  readonly implied: readonly ImpliedDirectory[]
}

/** Directories between two turns of the event loop. */
const batch = 50

/**
 * Gives the directories that a layer only implies what they have in the layers below: owner, mode, attributes, times. So
 * a layer that was unpacked before those below it were there comes out as one unpacked upon them. Doing it twice does no
 * harm.
 */
export async function adoptParents({ upper, lowers, implied }: AdoptRequest, signal: AbortSignal): Promise<void> {
  using tree = new RootTree(upper)
  using below = new LowerParents(lowers)
  for (const [at, { path, described }] of implied.entries()) {
    if (at % batch === batch - 1) await nextTurn(undefined, { signal })
    signal.throwIfAborted()
    const slash = path.lastIndexOf('/')
    const name = path.slice(slash + 1)
    const parent = directoryAt(tree, path.slice(0, Math.max(0, slash)))
    const own = parent && tree.stat(parent, name)
    // The layer itself removed or replaced it later on.
    if (parent === undefined || own === undefined || (own.mode & fileType.mask) !== fileType.directory) continue
    if (described) {
      below.addXattrs(parent, name)
      continue
    }
    const found = below.adopt(parent, name)
    if (found !== undefined) utimens(toPath(name), { atime: found.atime, mtime: found.mtime }, { directory: parent.fd })
  }
}

function directoryAt(tree: RootTree, path: ByteString): TreeDirectory | undefined {
  try {
    return tree.open(path)
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw error
  }
}
