import { bytesToString } from './bytes.ts'
import { blockSize, entryType, invalidHeader, type TarEntry, TarError } from './entry.ts'
import { type HeaderBlock, isZeroBlock, readHeader } from './header.ts'
import { readDecimal, readNumber, readTime } from './numbers.ts'
import { noRecords, type PaxRecords, readPax } from './pax.ts'
import { checkRuns, type DataRun, gnuRuns, hasMapInData, mapInData, paxRuns } from './sparse.ts'

/** Who takes the members of an archive: for each one `entry`, `data` any number of times, `end`. */
export interface EntrySink {
  entry(entry: TarEntry): void
  /** Bytes of the file; valid during the call only. `position` counts from the file's start. */
  data(bytes: Uint8Array, position: number): void
  end(): void
}

/** Largest extended header, long name or sparse map, in bytes; the limit of Go's reader. */
const metadataLimit = 1 << 20

/** Types that are followed by no data, whatever size their header names. */
const headerOnly = new Set<string>([
  entryType.link,
  entryType.symlink,
  entryType.character,
  entryType.block,
  entryType.directory,
  entryType.fifo,
])

/**
 * Reads ustar, pax, GNU, star and V7 archives, pushed in pieces of any size. Synchronous, so that the file system calls
 * of a sink happen in the order of the archive and nothing is queued. Every byte of a name or an attribute is kept.
 * Throws a TarError for what is not a tar; errors of the sink pass through.
 */
export class TarReader {
  readonly #sink: EntrySink
  readonly #block = Buffer.alloc(blockSize)
  #filled = 0
  #state: 'header' | 'sparse' | 'metadata' | 'map' | 'data' | 'ended' = 'header'
  #sawZeroBlock = false

  /** Bytes of the present member that are still to come, and then its padding. */
  #remaining = 0
  #padding = 0

  #metadataType = ''
  #metadata: Buffer[] = []
  #pax: PaxRecords = noRecords
  #longName: string | undefined
  #longLink: string | undefined

  #header: HeaderBlock | undefined
  #runs: DataRun[] = []
  #realSize = 0
  #run = 0
  #runDone = 0

  constructor(sink: EntrySink) {
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      switch (this.#state) {
        case 'ended':
          return
        case 'header':
        case 'sparse': {
          at += this.#fill(chunk, at)
          if (this.#filled < blockSize) return
          this.#filled = 0
          if (this.#state === 'header') this.#takeHeader()
          else this.#takeSparseBlock()
          break
        }
        default:
          at += this.#takeBytes(chunk, at)
      }
    }
  }

  /** To be called when there are no more bytes. An archive may lack its final zero blocks, but not end in a member. */
  finish(): void {
    const between = this.#state === 'header' && this.#filled === 0 && !this.#hasPending()
    if (this.#state !== 'ended' && !between) throw new TarError('unexpected end of tar')
  }

  #hasPending(): boolean {
    return this.#pax !== noRecords || this.#longName !== undefined || this.#longLink !== undefined
  }

  #fill(chunk: Uint8Array, at: number): number {
    const count = Math.min(blockSize - this.#filled, chunk.length - at)
    this.#block.set(chunk.subarray(at, at + count), this.#filled)
    this.#filled += count
    return count
  }

  #takeHeader(): void {
    if (isZeroBlock(this.#block)) {
      if (this.#sawZeroBlock) this.#state = 'ended'
      this.#sawZeroBlock = true
      return
    }
    if (this.#sawZeroBlock) throw invalidHeader('a zero block and then a header')
    const header = readHeader(this.#block)
    if (header.size < 0) throw invalidHeader('negative size')
    switch (header.type) {
      case entryType.pax:
      case entryType.global:
      case entryType.gnuLongName:
      case entryType.gnuLongLink:
        if (header.size > metadataLimit) throw new TarError('tar header field too long')
        this.#metadataType = header.type
        this.#begin('metadata', header.size)
        return
    }
    this.#header = header
    this.#runs = []
    if (header.type === entryType.gnuSparse) {
      this.#realSize = readNumber(this.#block, 483, 12)
      this.#runs = gnuRuns(this.#block, 386, 4)
      if (this.#block[482] !== 0) {
        this.#state = 'sparse'
        return
      }
    }
    this.#startMember(header)
  }

  #takeSparseBlock(): void {
    this.#runs.push(...gnuRuns(this.#block, 0, 21))
    if (this.#runs.length > metadataLimit / 16) throw new TarError('tar header field too long')
    if (this.#block[504] === 0 && this.#header !== undefined) this.#startMember(this.#header)
  }

  #startMember(header: HeaderBlock): void {
    const size = this.#pax.fields.get('size')
    const stored = headerOnly.has(header.type) ? 0 : size ? readDecimal(size) : header.size
    if (stored < 0) throw invalidHeader('negative size')
    if (header.type === entryType.gnuSparse) {
      this.#announce(header, this.#realSize, stored)
      return
    }
    if (isFile(header.type) && hasMapInData(this.#pax)) {
      this.#begin('map', stored)
      if (stored === 0) throw invalidHeader('sparse file without a map')
      return
    }
    const runs = isFile(header.type) ? paxRuns(this.#pax) : undefined
    if (runs === undefined) {
      this.#runs = stored === 0 ? [] : [{ offset: 0, length: stored }]
      this.#announce(header, stored, stored)
      return
    }
    this.#runs = runs
    this.#announce(header, this.#sparseSize(), stored)
  }

  #sparseSize(): number {
    const { fields } = this.#pax
    return readDecimal(fields.get('GNU.sparse.realsize') ?? fields.get('GNU.sparse.size') ?? '')
  }

  #announce(header: HeaderBlock, size: number, stored: number): void {
    if (size < 0) throw invalidHeader('negative size')
    checkRuns(this.#runs, size, stored)
    const { fields, xattrs } = this.#pax
    const number = (key: string, value: number) => (fields.get(key) ? readDecimal(fields.get(key) ?? '') : value)
    const name = fields.get('GNU.sparse.name') || fields.get('path') || this.#longName || header.name
    const atime = fields.get('atime')
    const mtime = fields.get('mtime')
    this.#sink.entry({
      type: normalType(header.type, name),
      name,
      linkName: fields.get('linkpath') || this.#longLink || header.linkName,
      mode: header.mode & 0o7777,
      uid: number('uid', header.uid),
      gid: number('gid', header.gid),
      size,
      mtime: mtime ? readTime(mtime) : header.mtime,
      atime: atime ? readTime(atime) : header.atime,
      deviceMajor: header.deviceMajor,
      deviceMinor: header.deviceMinor,
      xattrs,
    })
    this.#pax = noRecords
    this.#longName = undefined
    this.#longLink = undefined
    this.#run = 0
    this.#runDone = 0
    // A map in the data has been read already, together with a part of this padding.
    if (this.#state === 'map') {
      this.#state = 'data'
      this.#remaining = stored
    } else this.#begin('data', stored)
    if (this.#remaining === 0) this.#finishBytes()
  }

  #begin(state: 'metadata' | 'map' | 'data', size: number): void {
    this.#state = state
    this.#remaining = size
    this.#padding = (blockSize - (size % blockSize)) % blockSize
    if (size === 0 && state === 'metadata') this.#finishBytes()
  }

  /** Takes bytes of the present member or its padding; answers how many. */
  #takeBytes(chunk: Uint8Array, at: number): number {
    if (this.#remaining === 0) {
      const count = Math.min(this.#padding, chunk.length - at)
      this.#padding -= count
      if (this.#padding === 0) this.#state = 'header'
      return count
    }
    const count = Math.min(this.#remaining, chunk.length - at)
    const bytes = chunk.subarray(at, at + count)
    this.#remaining -= count
    if (this.#state === 'data') this.#deliver(bytes)
    else this.#metadata.push(Buffer.from(bytes))
    if (this.#state === 'map') this.#takeMap()
    else if (this.#remaining === 0) this.#finishBytes()
    return count
  }

  #deliver(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      const run = this.#runs[this.#run]
      if (run === undefined) throw invalidHeader('sparse map does not fit its data')
      const count = Math.min(run.length - this.#runDone, bytes.length - at)
      if (count > 0) this.#sink.data(bytes.subarray(at, at + count), run.offset + this.#runDone)
      at += count
      this.#runDone += count
      if (this.#runDone === run.length) {
        this.#run++
        this.#runDone = 0
      }
    }
  }

  #takeMap(): void {
    const bytes = Buffer.concat(this.#metadata)
    if (bytes.length > metadataLimit * 2) throw new TarError('tar header field too long')
    const map = mapInData(bytes)
    if (map === undefined) {
      if (this.#remaining === 0 || bytes.length > metadataLimit) throw invalidHeader('sparse map without an end')
      this.#metadata = [bytes]
      return
    }
    this.#metadata = []
    this.#runs = map.runs
    const rest = bytes.subarray(map.length)
    const header = this.#header
    if (header === undefined) throw invalidHeader('sparse map without a file')
    const { length } = rest
    const stored = this.#remaining + length
    this.#announce(header, this.#sparseSize(), stored)
    if (length === 0) return
    this.#remaining -= length
    this.#deliver(rest)
    if (this.#remaining === 0) this.#finishBytes()
  }

  #finishBytes(): void {
    if (this.#state === 'data') this.#sink.end()
    else this.#takeMetadata()
    if (this.#padding === 0) this.#state = 'header'
  }

  #takeMetadata(): void {
    const bytes = Buffer.concat(this.#metadata)
    this.#metadata = []
    switch (this.#metadataType) {
      case entryType.pax:
        this.#pax = readPax(bytes)
        break
      case entryType.gnuLongName:
        this.#longName = untilZero(bytes)
        break
      case entryType.gnuLongLink:
        this.#longLink = untilZero(bytes)
        break
    }
  }
}

function untilZero(bytes: Buffer): string {
  const zero = bytes.indexOf(0)
  return bytesToString(bytes, 0, zero < 0 ? bytes.length : zero)
}

function isFile(type: string): boolean {
  return type === entryType.file || type === '\0'
}

function normalType(type: string, name: string): string {
  if (type === '\0') return name.endsWith('/') ? entryType.directory : entryType.file
  return type === entryType.gnuSparse ? entryType.file : type
}
