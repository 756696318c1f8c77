import { errnoOf, fileType } from '@flotilla/linux'
import type { ByteString } from '../tar/bytes.ts'
import { copyAttributes } from './attributes.ts'
import { procPath, RootTree, type TreeDirectory } from './root-tree.ts'

/** The layers below the one that is written, nearest first; asked for the directories which that one lacks. */
export class LowerParents implements Disposable {
  readonly #lowers: readonly RootTree[]

  constructor(lowers: readonly string[]) {
    this.#lowers = lowers.map((lower) => new RootTree(lower))
  }

  [Symbol.dispose](): void {
    for (const lower of this.#lowers) lower[Symbol.dispose]()
  }

  /**
   * Gives a directory just made the attributes that it has in the nearest layer; answers its times there. undefined
   * when no layer has it, or the nearest that has the name holds something else.
   */
  adopt(to: TreeDirectory, name: ByteString): ReturnType<RootTree['stat']> {
    const components = (to.path === '' ? name : `${to.path}/${name}`).split('/')
    for (const lower of this.#lowers) {
      const path = lower.resolve(components)
      if (path === '') continue
      const slash = path.lastIndexOf('/')
      const parentPath = path.slice(0, Math.max(0, slash))
      const base = path.slice(slash + 1)
      const parent = openParent(lower, parentPath)
      if (parent === 'hidden') return undefined
      const found = parent === 'absent' ? undefined : lower.stat(parent, base)
      if (parent === 'absent' || found === undefined) continue
      if ((found.mode & fileType.mask) !== fileType.directory) return undefined
      copyAttributes(procPath(parent, base), found, to, name)
      return found
    }
    return undefined
  }
}

/** 'absent' when a layer further down may have it, 'hidden' when something else is in its place. */
function openParent(tree: RootTree, path: ByteString): TreeDirectory | 'absent' | 'hidden' {
  try {
    return tree.open(path)
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOENT') return 'absent'
    if (code === 'ENOTDIR') return 'hidden'
    throw error
  }
}
