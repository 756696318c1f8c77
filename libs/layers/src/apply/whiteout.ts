import { errnoOf, fileType, lchownat, lsetxattr, mknod } from '@flotilla/linux'
import { type ByteString, fromText, stringToBytes, toPath, toText } from '../tar/bytes.ts'
import type { TarEntry } from '../tar/entry.ts'
import { namesIn, procPath, type RootTree, type TreeDirectory } from './root-tree.ts'

const prefix = '.wh.'
const opaqueMarker = '.wh..wh..opq'

/** What a member's name says about the layers below: nothing, that a name is gone, or that a directory starts empty. */
export type Whiteout = { readonly kind: 'removed'; readonly name: ByteString } | { readonly kind: 'opaque' } | undefined

export function whiteoutOf(base: ByteString): Whiteout {
  if (base === opaqueMarker) return { kind: 'opaque' }
  if (!base.startsWith(prefix)) return undefined
  const name = base.slice(prefix.length)
  if (name === '' || name === '.' || name === '..') throw new Error(`invalid whiteout name: ${toText(base)}`)
  return { kind: 'removed', name }
}

/** How whiteouts are carried out. */
export interface WhiteoutStyle {
  remove(directory: TreeDirectory, name: ByteString, entry: TarEntry): void
  /** Everything of lower layers in this directory goes; what this layer wrote stays. */
  clear(directory: TreeDirectory): void
  /** Told of each name that this layer writes, parents included; `path` is from the root. */
  wrote(path: ByteString): void
  /** A directory is to take the place of something that is removed now. */
  replacedByDirectory(directory: TreeDirectory, name: ByteString, wasWhiteout: boolean): void
}

/** In an overlay's upper directory: a character device 0:0 hides a name, an attribute hides what is below a directory. */
export function overlayWhiteouts(): WhiteoutStyle {
  const makeOpaque = (directory: TreeDirectory, name: ByteString) =>
    lsetxattr(procPath(directory, name), 'trusted.overlay.opaque', stringToBytes('y'))
  return {
    remove(directory, name, entry) {
      mknod(toPath(name), fileType.character, 0n, directory.fd)
      lchownat(directory.fd, toPath(name), entry.uid, entry.gid)
    },
    clear: (directory) => makeOpaque(directory, fromText('.')),
    wrote() {},
    // Without the whiteout the directory would let the lower one show through.
    replacedByDirectory(directory, name, wasWhiteout) {
      if (wasWhiteout) makeOpaque(directory, name)
    },
  }
}

/** In an ordinary tree that holds the lower layers' files: they are deleted. */
export function plainWhiteouts(tree: RootTree, hadFiles: boolean): WhiteoutStyle {
  const written = new Set<ByteString>()
  const clear = (directory: TreeDirectory) => {
    const { path } = directory
    const names = listNames(tree, path)
    for (const name of names) {
      const child = path === '' ? name : `${path}/${name}`
      const parent = tree.open(path)
      if (!written.has(child)) tree.remove(parent, name)
      else if (isDirectory(tree, parent, name)) clear({ fd: -1, path: child })
    }
  }
  return {
    remove: (directory, name) => tree.remove(directory, name),
    clear(directory) {
      if (hadFiles) clear(directory)
    },
    wrote(path) {
      // In a tree that began empty everything was written by this layer, and there is nothing to remember.
      if (!hadFiles) return
      for (let at = path; at !== '' && !written.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
        written.add(at)
      }
    },
    replacedByDirectory() {},
  }
}

function isDirectory(tree: RootTree, parent: TreeDirectory, name: ByteString): boolean {
  const found = tree.stat(parent, name)
  return found !== undefined && (found.mode & fileType.mask) === fileType.directory
}

function listNames(tree: RootTree, path: ByteString): ByteString[] {
  try {
    return namesIn(tree.open(path).fd)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
