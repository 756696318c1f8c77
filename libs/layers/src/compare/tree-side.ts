import { readdirSync } from 'node:fs'
import { type FileStat, fileType, lgetxattr, lstatx } from '@flotilla/linux'
import { type ByteString, fromText, toPath } from '../tar/bytes.ts'

/** One of two trees that are compared; paths are below its root, '' is the root. */
export class TreeSide {
  readonly #root: ByteString

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

  xattr(path: ByteString, name: string): Buffer | undefined {
    return lgetxattr(this.path(path), name)
  }
}

export function typeOf(stat: FileStat): number {
  return stat.mode & fileType.mask
}

export function isDirectory(stat: FileStat): boolean {
  return typeOf(stat) === fileType.directory
}
