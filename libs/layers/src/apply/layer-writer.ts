import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, writeSync } from 'node:fs'
import {
  chmodat,
  errnoOf,
  fileType,
  futimens,
  linkat,
  makeDevice,
  mkdirat,
  mknod,
  openat,
  symlinkat,
  type Times,
  utimens,
} from '@flotilla/linux'
import { type ByteString, toPath, toText } from '../tar/bytes.ts'
import { entryType, type TarEntry } from '../tar/entry.ts'
import type { EntrySink } from '../tar/reader.ts'
import { entryTimes, setMetadata, setXattrs } from './attributes.ts'
import { LowerParents } from './lower-parents.ts'
import { cleanComponents, memberPath } from './member-path.ts'
import { namesIn, procPath, RootTree, type TreeDirectory } from './root-tree.ts'
import { overlayWhiteouts, plainWhiteouts, type WhiteoutStyle, whiteoutOf } from './whiteout.ts'

/** A directory that was made because a member lies in it. */
export interface ImpliedDirectory {
  readonly path: ByteString
  /** Whether a later member says what it is. Extended attributes that the layers below have it keeps even then. */
  readonly described: boolean
}

/** Where a layer goes. */
export type LayerTarget =
  /** An overlay's upper directory, written directly; `lowers` nearest first. */
  | { readonly kind: 'overlay'; readonly upper: string; readonly lowers: readonly string[] }
  /** A tree that already holds what is below the layer. */
  | { readonly kind: 'plain'; readonly root: string }

export interface LayerWriterOptions {
  /** Leave out device nodes: in a user namespace nobody may make them. */
  readonly skipDevices?: boolean
}

const newFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Writes the members of one layer into a directory tree. To be closed by `finish` and disposal. */
export class LayerWriter implements EntrySink, Disposable {
  readonly #tree: RootTree
  readonly #lowers: LowerParents
  readonly #whiteouts: WhiteoutStyle
  readonly #skipDevices: boolean
  /** Path → times of directories, set when nothing is written into them any more. */
  readonly #directoryTimes = new Map<ByteString, Times>()
  /** Path → whether a member has described it, of directories made before one did. */
  readonly #implied = new Map<ByteString, boolean>()
  #file: { readonly fd: number; readonly directory: TreeDirectory; readonly name: ByteString } | undefined
  #entry: TarEntry | undefined
  #written = 0

  constructor(target: LayerTarget, options: LayerWriterOptions = {}) {
    this.#skipDevices = options.skipDevices === true
    this.#tree = new RootTree(target.kind === 'overlay' ? target.upper : target.root)
    this.#lowers = new LowerParents(target.kind === 'overlay' ? target.lowers : [])
    this.#whiteouts =
      target.kind === 'overlay'
        ? overlayWhiteouts()
        : plainWhiteouts(this.#tree, namesIn(this.#tree.open('').fd).length > 0)
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    this.#file = undefined
    this.#lowers[Symbol.dispose]()
    this.#tree[Symbol.dispose]()
  }

  entry(entry: TarEntry): void {
    this.#entry = entry
    try {
      this.#write(entry)
    } catch (error) {
      throw named(error, entry)
    }
  }

  data(bytes: Uint8Array, position: number): void {
    const file = this.#file
    if (file === undefined) return
    // Positioned writes cost nothing more and leave the holes of sparse files unwritten.
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(file.fd, bytes, at, bytes.length - at, position + at)
    }
    this.#written = position + bytes.length
  }

  end(): void {
    const { file, entry } = { file: this.#file, entry: this.#entry }
    if (file === undefined || entry === undefined) return
    this.#file = undefined
    try {
      if (this.#written < entry.size) ftruncateSync(file.fd, entry.size)
      fchownSync(file.fd, entry.uid, entry.gid)
      if (entry.xattrs.size > 0) {
        setXattrs(procPath(this.#tree.open(file.directory.path), file.name), fileType.regular, entry.xattrs)
      }
      fchmodSync(file.fd, entry.mode)
      futimens(file.fd, entryTimes(entry))
    } catch (error) {
      throw named(error, entry)
    } finally {
      closeSync(file.fd)
    }
  }

  /** The directories that were made only because members lie in them, parents first. */
  implied(): ImpliedDirectory[] {
    return [...this.#implied].map(([path, described]) => ({ path, described }))
  }

  /** Sets what must come last: the times of directories. */
  finish(): void {
    for (const [path, times] of this.#directoryTimes) {
      try {
        utimens('.', times, { directory: this.#tree.open(path).fd })
      } catch (error) {
        // The layer itself removed or replaced the directory later on.
        const code = errnoOf(error)
        if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ELOOP') throw error
      }
    }
  }

  #write(entry: TarEntry): void {
    if (this.#skipDevices && (entry.type === entryType.character || entry.type === entryType.block)) return
    const { directory: components, base } = memberPath(entry.name)
    if (base === '') return
    const directory = this.#tree.directory(components, (parent, name) => this.#makeParent(parent, name))
    const whiteout = whiteoutOf(base)
    if (whiteout?.kind === 'opaque') this.#whiteouts.clear(directory)
    else if (whiteout?.kind === 'removed') this.#whiteouts.remove(directory, whiteout.name, entry)
    else {
      this.#create(directory, base, entry)
      this.#whiteouts.wrote(directory.path === '' ? base : `${directory.path}/${base}`)
    }
  }

  #makeParent(parent: TreeDirectory, name: ByteString): void {
    mkdirat(parent.fd, toPath(name), 0o755)
    chmodat(parent.fd, toPath(name), 0o755)
    const lower = this.#lowers.adopt(parent, name)
    const path = parent.path === '' ? name : `${parent.path}/${name}`
    if (lower !== undefined) this.#directoryTimes.set(path, { atime: lower.atime, mtime: lower.mtime })
    // At its end, should it have been there before.
    this.#implied.delete(path)
    this.#implied.set(path, false)
    this.#whiteouts.wrote(path)
  }

  #create(directory: TreeDirectory, name: ByteString, entry: TarEntry): void {
    const path = toPath(name)
    const { fd } = directory
    switch (entry.type) {
      case entryType.file:
        this.#file = { fd: this.#fresh(directory, name, () => openat(fd, path, newFile, 0o600)), directory, name }
        this.#written = 0
        return
      case entryType.directory:
        this.#createDirectory(directory, name, entry)
        return
      case entryType.symlink:
        this.#fresh(directory, name, () => symlinkat(toPath(entry.linkName), fd, path))
        setMetadata(directory, name, entry, fileType.symlink)
        return
      case entryType.link:
        this.#link(directory, name, entry)
        return
      case entryType.fifo:
        this.#fresh(directory, name, () => mknod(path, fileType.fifo | 0o600, 0n, fd))
        setMetadata(directory, name, entry, fileType.fifo)
        return
      case entryType.character:
      case entryType.block: {
        const type = entry.type === entryType.block ? fileType.block : fileType.character
        const device = deviceOf(entry)
        this.#fresh(directory, name, () => mknod(path, type | 0o600, device, fd))
        setMetadata(directory, name, entry, type)
        return
      }
      default:
        throw new Error(`unhandled tar header type ${entry.type.charCodeAt(0)}`)
    }
  }

  /** Makes something at a name; what is there is removed first, which is rare enough to be found out by failing. */
  #fresh<T>(directory: TreeDirectory, name: ByteString, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
      this.#tree.remove(directory, name)
      return make()
    }
  }

  #createDirectory(directory: TreeDirectory, name: ByteString, entry: TarEntry): void {
    const path = directory.path === '' ? name : `${directory.path}/${name}`
    try {
      mkdirat(directory.fd, toPath(name), 0o700)
      this.#implied.delete(path)
    } catch (error) {
      const found = errnoOf(error) === 'EEXIST' ? this.#tree.stat(directory, name) : undefined
      if (found === undefined) throw error
      if ((found.mode & fileType.mask) !== fileType.directory) {
        const { rdevMajor, rdevMinor } = found
        const device = (found.mode & fileType.mask) === fileType.character
        this.#tree.removeFound(directory, name, found)
        mkdirat(directory.fd, toPath(name), 0o700)
        this.#whiteouts.replacedByDirectory(directory, name, device && rdevMajor === 0 && rdevMinor === 0)
        this.#implied.delete(path)
      } else if (this.#implied.has(path)) this.#implied.set(path, true)
    }
    setMetadata(directory, name, entry, fileType.directory)
    this.#directoryTimes.set(path, entryTimes(entry))
  }

  #link(directory: TreeDirectory, name: ByteString, entry: TarEntry): void {
    const components = cleanComponents(entry.linkName)
    const sourceName = components.pop()
    if (sourceName === undefined) throw new Error(`hard link to the root: ${toText(entry.linkName)}`)
    const source = this.#tree.open(this.#tree.resolve(components))
    // Resolving may have closed the directory, so it is asked for again.
    const target = this.#tree.open(directory.path)
    this.#fresh(target, name, () => linkat(source.fd, toPath(sourceName), target.fd, toPath(name)))
    const type = (this.#tree.stat(target, name)?.mode ?? 0) & fileType.mask
    setMetadata(target, name, entry, type)
  }
}

function deviceOf({ deviceMajor, deviceMinor }: TarEntry): bigint {
  for (const number of [deviceMajor, deviceMinor]) {
    if (number < 0 || number > 0xffff_ffff)
      throw new Error(`device number ${deviceMajor}:${deviceMinor} is out of range`)
  }
  return makeDevice(deviceMajor, deviceMinor)
}

/** The same failure, saying which member it concerns. */
function named(error: unknown, entry: TarEntry): Error {
  const text = error instanceof Error ? error.message : String(error)
  const result = new Error(`failed to unpack ${JSON.stringify(toText(entry.name))}: ${text}`, { cause: error })
  const code = errnoOf(error)
  return code === undefined ? result : Object.assign(result, { code })
}
