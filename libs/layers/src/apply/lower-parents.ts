import { errnoOf, type FileStat, fileType } from '@flotilla/linux'
import type { ByteString } from '../tar/bytes.ts'
import { copyAttributes, copyXattrs } from './attributes.ts'
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
  adopt(to: TreeDirectory, name: ByteString): FileStat | undefined {
    const found = this.#find(to, name)
    if (found !== undefined) copyAttributes(found.path, found.stat, to, name)
    return found?.stat
  }

  /** Gives a directory only those extended attributes that it has not. */
  addXattrs(to: TreeDirectory, name: ByteString): void {
    const found = this.#find(to, name)
    if (found !== undefined) copyXattrs(found.path, to, name, 'missing')
  }

  /** A directory of this name in the nearest layer that has the name. */
  #find(to: TreeDirectory, name: ByteString): { path: string | Buffer; stat: FileStat } | undefined {
    const components = (to.path === '' ? name : `${to.path}/${name}`).split('/')
    for (const lower of this.#lowers) {
      const path = resolved(lower, components)
      if (path === undefined) return undefined
      if (path === '') continue
      const slash = path.lastIndexOf('/')
      const parentPath = path.slice(0, Math.max(0, slash))
      const base = path.slice(slash + 1)
      const parent = openParent(lower, parentPath)
      if (parent === 'hidden') return undefined
      const stat = parent === 'absent' ? undefined : lower.stat(parent, base)
      if (parent === 'absent' || stat === undefined) continue
      if ((stat.mode & fileType.mask) !== fileType.directory) return undefined
      return { path: procPath(parent, base), stat }
    }
    return undefined
  }
}

/** Undefined when symlinks lead nowhere: then they are what the layer has there. */
function resolved(tree: RootTree, components: readonly ByteString[]): ByteString | undefined {
  try {
    return tree.resolve(components)
  } catch (error) {
    if (errnoOf(error) === 'ELOOP') return undefined
    throw error
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
