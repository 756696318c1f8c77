import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs'
import { type FileStat, fileType } from '@flotilla/linux'
import { type ByteString, bytesToString, toText } from '../tar/bytes.ts'
import { entryType } from '../tar/entry.ts'
import { type HeaderFields, padding, tarHeader } from '../tar/writer.ts'
import type { Change } from './changes.ts'
import { capabilityXattr } from './same.ts'
import { type TreeSide, typeOf } from './tree-side.ts'

const pieceSize = 256 * 1024

/** Turns changes into the bytes of a layer. */
export class ChangeWriter {
  readonly #tree: TreeSide
  readonly #latest: number
  readonly #directories = new Set<ByteString>()
  /** Inode → the name it was written under. */
  readonly #written = new Map<string, ByteString>()
  /** Inode → unchanged names seen before any changed one. */
  readonly #pending = new Map<string, ByteString[]>()

  /** `latest`: whole seconds since the epoch that no time in the layer is after. */
  constructor(tree: TreeSide, latest: number = Number.POSITIVE_INFINITY) {
    this.#tree = tree
    this.#latest = latest
  }

  *write(change: Change): Generator<Buffer> {
    if (change.kind === 'visited') return
    if (change.kind === 'removed') {
      yield* this.#parents(change.path)
      const slash = change.path.lastIndexOf('/') + 1
      const name = `${change.path.slice(0, slash)}.wh.${change.path.slice(slash)}`
      yield tarHeader({ type: entryType.file, name, mode: 0, mtime: 0 })
      return
    }
    const { path, stat } = change
    if (typeOf(stat) === fileType.socket) return
    const inode = stat.nlink > 1 && typeOf(stat) !== fileType.directory ? `${stat.device}:${stat.inode}` : undefined
    if (inode === undefined) {
      if (change.kind === 'written') yield* this.#member(path, stat)
      return
    }
    const first = this.#written.get(inode)
    if (first !== undefined) {
      yield* this.#link(path, stat, first)
      return
    }
    const earlier = this.#pending.get(inode) ?? []
    if (change.kind === 'unchanged') {
      this.#pending.set(inode, [...earlier, path])
      return
    }
    this.#written.set(inode, path)
    this.#pending.delete(inode)
    yield* this.#member(path, stat)
    for (const name of earlier) yield* this.#link(name, stat, path)
  }

  *#parents(path: ByteString): Generator<Buffer> {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const directory = path.slice(0, slash)
      if (this.#directories.has(directory)) continue
      const stat = this.#tree.stat(directory)
      if (stat !== undefined) yield this.#header(directory, stat)
    }
  }

  *#link(path: ByteString, stat: FileStat, target: ByteString): Generator<Buffer> {
    yield* this.#parents(path)
    yield tarHeader({ ...this.#fields(path, stat), type: entryType.link, linkName: target, size: 0 })
  }

  *#member(path: ByteString, stat: FileStat): Generator<Buffer> {
    yield* this.#parents(path)
    if (typeOf(stat) !== fileType.regular) {
      if (!(typeOf(stat) === fileType.directory && this.#directories.has(path))) yield this.#header(path, stat)
      return
    }
    const fd = openSync(this.#tree.path(path), constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      yield this.#header(path, stat)
      yield* contentOf(fd, stat.size, path)
    } finally {
      closeSync(fd)
    }
  }

  #header(path: ByteString, stat: FileStat): Buffer {
    if (typeOf(stat) === fileType.directory) this.#directories.add(path)
    return tarHeader(this.#fields(path, stat))
  }

  #fields(path: ByteString, stat: FileStat): HeaderFields {
    const type = memberTypes[typeOf(stat)]
    if (type === undefined) throw new Error(`unknown file type of ${toText(path)}: mode ${stat.mode.toString(8)}`)
    const isDevice = type === entryType.character || type === entryType.block
    const capability = this.#tree.xattr(path, capabilityXattr)
    return {
      type,
      name: type === entryType.directory ? `${path}/` : path,
      linkName: type === entryType.symlink ? bytesToString(readlinkSync(this.#tree.path(path), 'buffer')) : '',
      mode: stat.mode,
      uid: stat.uid,
      gid: stat.gid,
      size: type === entryType.file ? stat.size : 0,
      mtime: Math.min(stat.mtime.seconds, this.#latest),
      deviceMajor: isDevice ? stat.rdevMajor : 0,
      deviceMinor: isDevice ? stat.rdevMinor : 0,
      xattrs: new Map(capability === undefined ? [] : [[capabilityXattr, capability]]),
    }
  }
}

const memberTypes: Readonly<Record<number, string>> = {
  [fileType.regular]: entryType.file,
  [fileType.symlink]: entryType.symlink,
  [fileType.character]: entryType.character,
  [fileType.block]: entryType.block,
  [fileType.directory]: entryType.directory,
  [fileType.fifo]: entryType.fifo,
}

/** Exactly `size` bytes of a file and the padding: a file that grows meanwhile is cut, one that shrinks is an error. */
function* contentOf(fd: number, size: number, path: ByteString): Generator<Buffer> {
  for (let left = size; left > 0; ) {
    // A buffer of its own for each piece: the one before may still be on its way to the compressor.
    const piece = Buffer.allocUnsafe(Math.min(left, pieceSize))
    const count = readSync(fd, piece)
    if (count === 0) throw new Error(`${toText(path)} became shorter while it was read`)
    left -= count
    yield piece.subarray(0, count)
  }
  yield padding(size)
}
