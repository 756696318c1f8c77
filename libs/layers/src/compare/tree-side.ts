import { readdirSync } from 'node:fs'
import { errnoOf, type FileStat, fileType, lgetxattr, llistxattr, lstatx } from '@flotilla/linux'
import { type ByteString, fromText, toPath } from '../tar/bytes.ts'

/** One of two trees that are compared; paths are below its root, '' is the root. */
export class TreeSide {
  readonly #root: ByteString
  #listed: { readonly path: ByteString; readonly names: readonly string[] } | undefined

  constructor(root: string) {
    this.#root = fromText(root)
  }

  path(path: ByteString): string | Buffer {
    return toPath(path === '' ? this.#root : `${this.#root}/${path}`)
  }

  stat(path: ByteString): FileStat | undefined {
    return lstatx(this.path(path))
  }

  /** Names in a directory in byte order. */
  names(path: ByteString): ByteString[] {
    return readdirSync(this.path(path), { encoding: 'latin1' }).sort()
  }

  /** Names in a directory, in no order, and which of them are directories: every file system below an overlay tells. */
  entries(path: ByteString): { readonly name: ByteString; readonly isDirectory: boolean }[] {
    return readdirSync(this.path(path), { encoding: 'latin1', withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isDirectory: entry.isDirectory(),
    }))
  }

  /** An extended attribute. Most files have none: then nothing is asked for. */
  xattr(path: ByteString, name: string): Buffer | undefined {
    return this.#attributes(path).includes(name) ? lgetxattr(this.path(path), name) : undefined
  }

  /** Names of a path's attributes, which is likely to be asked for again; none when it has gone meanwhile. */
  #attributes(path: ByteString): readonly string[] {
    if (this.#listed?.path !== path) this.#listed = { path, names: attributesOf(this.path(path)) }
    return this.#listed.names
  }
}

function attributesOf(path: string | Buffer): readonly string[] {
  try {
    return llistxattr(path).map((name) => name.toString('latin1'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

export function typeOf(stat: FileStat): number {
  return stat.mode & fileType.mask
}

export function isDirectory(stat: FileStat): boolean {
  return typeOf(stat) === fileType.directory
}
