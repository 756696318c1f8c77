import { closeSync, constants, readdirSync } from 'node:fs'
import {
  AT_FDCWD,
  errnoOf,
  type FileStat,
  fileType,
  LinuxError,
  lstatx,
  O_PATH,
  openat,
  openBeneath,
  readlinkat,
  rmdirat,
  unlinkat,
} from '@flotilla/linux'
import { type ByteString, bytesToString, fromText, toPath, toText } from '../tar/bytes.ts'

/** Symlinks followed in one path before it counts as a loop. */
const linkLimit = 255

/** Resolved directories remembered; then all are forgotten, so that an archive cannot fill the memory with names. */
const cacheLimit = 20_000

/** Directories kept open, the least recently used one closed first. */
const openLimit = 16

/** An open directory of the tree. Its descriptor is valid until so many others are opened, or it is removed. */
export interface TreeDirectory {
  readonly fd: number
  /** From the root, without symlinks; '' is the root. */
  readonly path: ByteString
}

/**
 * A directory tree that untrusted names are resolved in: symlinks count from its root, and every operation is relative
 * to an open directory which was reached without symlinks. So no name and no symlink, also one that changes meanwhile,
 * leads out of it.
 */
export class RootTree implements Disposable {
  readonly #root: number
  readonly #resolved = new Map<ByteString, ByteString>()
  /** By path, the most recently used last. */
  readonly #open = new Map<ByteString, TreeDirectory>()

  constructor(root: string) {
    this.#root = openat(AT_FDCWD, root, O_PATH | constants.O_DIRECTORY)
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#open.values()) closeSync(fd)
    this.#open.clear()
    closeSync(this.#root)
  }

  /**
   * The directory at these components, symlinks on the way resolved inside the root. Directories that are missing are
   * made with `make`. ENOTDIR when something else is in the way.
   */
  directory(components: readonly ByteString[], make: (parent: TreeDirectory, name: ByteString) => void): TreeDirectory {
    const key = components.join('/')
    const known = this.#resolved.get(key)
    if (known !== undefined) return this.open(known)
    const path = this.resolve(components)
    const directory = this.#openOrMake(path, make)
    if (this.#resolved.size >= cacheLimit) this.#resolved.clear()
    this.#resolved.set(key, path)
    return directory
  }

  /** The path without symlinks that the components lead to; what does not exist is taken as it is written. */
  resolve(components: readonly ByteString[]): ByteString {
    const pending = [...components].reverse()
    let path: ByteString = ''
    let links = 0
    for (;;) {
      const part = pending.pop()
      if (part === undefined) return path
      if (part === '' || part === '.') continue
      if (part === '..') {
        path = path.slice(0, Math.max(0, path.lastIndexOf('/')))
        continue
      }
      const next = path === '' ? part : `${path}/${part}`
      const target = this.#readLink(next)
      if (target === undefined) {
        path = next
        continue
      }
      if (++links > linkLimit) throw new LinuxError('ELOOP', 'resolve', toText(components.join('/')))
      if (target.startsWith('/')) path = ''
      pending.push(...target.split('/').reverse())
    }
  }

  /** Opens a directory by a path that {@link resolve} gave. */
  open(path: ByteString): TreeDirectory {
    const known = this.#open.get(path)
    if (known !== undefined) {
      this.#open.delete(path)
      this.#open.set(path, known)
      return known
    }
    const flags = O_PATH | constants.O_DIRECTORY
    const fd = path === '' ? openat(this.#root, '.', flags) : openBeneath(this.#root, toPath(path), flags)
    const directory = { fd, path }
    this.#open.set(path, directory)
    for (const oldest of this.#open.values()) {
      if (this.#open.size <= openLimit) break
      this.#close(oldest)
    }
    return directory
  }

  stat(directory: TreeDirectory, name: ByteString): FileStat | undefined {
    return lstatx(toPath(name), directory.fd)
  }

  /** Removes a name with all below it; no error when it does not exist. */
  remove(directory: TreeDirectory, name: ByteString): void {
    const found = this.stat(directory, name)
    if (found !== undefined) this.removeFound(directory, name, found)
  }

  removeFound(directory: TreeDirectory, name: ByteString, found: FileStat): void {
    const type = found.mode & fileType.mask
    if (type !== fileType.directory) unlinkat(directory.fd, toPath(name))
    else removeDirectory(directory.fd, name)
    // Only what resolved paths go through can make them wrong.
    if (type !== fileType.directory && type !== fileType.symlink) return
    this.#resolved.clear()
    const gone = directory.path === '' ? name : `${directory.path}/${name}`
    for (const one of [...this.#open.values()]) {
      if (one.path === gone || one.path.startsWith(`${gone}/`)) this.#close(one)
    }
  }

  #readLink(path: ByteString): ByteString | undefined {
    const slash = path.lastIndexOf('/')
    try {
      const parent = this.open(path.slice(0, Math.max(0, slash)))
      const name = path.slice(slash + 1)
      const found = this.stat(parent, name)
      if (found === undefined || (found.mode & fileType.mask) !== fileType.symlink) return undefined
      return bytesToString(readlinkat(parent.fd, toPath(name)))
    } catch (error) {
      const code = errnoOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      throw error
    }
  }

  #openOrMake(path: ByteString, make: (parent: TreeDirectory, name: ByteString) => void): TreeDirectory {
    try {
      return this.open(path)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw notDirectory(error, path)
    }
    const slash = path.lastIndexOf('/')
    const parent = this.#openOrMake(path.slice(0, Math.max(0, slash)), make)
    make(parent, path.slice(slash + 1))
    return this.open(path)
  }

  #close({ fd, path }: TreeDirectory): void {
    this.#open.delete(path)
    closeSync(fd)
  }
}

function notDirectory(error: unknown, path: ByteString): unknown {
  return errnoOf(error) === 'ENOTDIR' ? new LinuxError('ENOTDIR', 'make parents', toText(path)) : error
}

/** Names in a directory, as byte strings. */
export function namesIn(directoryFd: number): ByteString[] {
  return readdirSync(`/proc/self/fd/${directoryFd}`, { encoding: 'latin1' })
}

function removeDirectory(parent: number, name: ByteString): void {
  const fd = openat(parent, toPath(name), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    for (const child of namesIn(fd)) {
      try {
        unlinkat(fd, toPath(child))
      } catch (error) {
        if (errnoOf(error) !== 'EISDIR') throw error
        removeDirectory(fd, child)
      }
    }
  } finally {
    closeSync(fd)
  }
  rmdirat(parent, toPath(name))
}

/** A path of this process for a name in a directory, for calls that take no descriptor (extended attributes). */
export function procPath(directory: TreeDirectory, name: ByteString): string | Buffer {
  return toPath(fromText(`/proc/self/fd/${directory.fd}/`) + name)
}
