import { type ByteString, bytesToString } from './bytes.ts'
import { blockSize, invalidHeader, type TarTime } from './entry.ts'
import { readNumber } from './numbers.ts'

/** One header block, before extended headers. */
export interface HeaderBlock {
  readonly type: string
  readonly name: ByteString
  readonly linkName: ByteString
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes stored in the archive. */
  readonly size: number
  readonly mtime: TarTime
  readonly atime: TarTime | undefined
  readonly deviceMajor: number
  readonly deviceMinor: number
}

type Format = 'v7' | 'ustar' | 'star' | 'gnu'

export function isZeroBlock(block: Uint8Array): boolean {
  for (let index = 0; index < blockSize; index++) if (block[index] !== 0) return false
  return true
}

/** Reads a header block, checksum first. */
export function readHeader(block: Uint8Array): HeaderBlock {
  verifyChecksum(block)
  const format = formatOf(block)
  const old = format === 'v7'
  const prefixLength = format === 'ustar' ? 155 : format === 'star' ? 131 : 0
  const prefix = prefixLength > 0 ? text(block, 345, prefixLength) : ''
  const name = text(block, 0, 100)
  return {
    type: String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: text(block, 157, 100),
    mode: readNumber(block, 100, 8),
    uid: readNumber(block, 108, 8),
    gid: readNumber(block, 116, 8),
    size: readNumber(block, 124, 12),
    mtime: { seconds: readNumber(block, 136, 12), nanos: 0 },
    atime: accessTime(block, format),
    deviceMajor: old ? 0 : readNumber(block, 329, 8),
    deviceMinor: old ? 0 : readNumber(block, 337, 8),
  }
}

function text(block: Uint8Array, start: number, length: number): ByteString {
  const zero = block.indexOf(0, start)
  const limit = start + length
  return bytesToString(block, start, zero < 0 || zero > limit ? limit : zero)
}

// Old writers summed signed characters.
function verifyChecksum(block: Uint8Array): void {
  let unsigned = 0
  let high = 0
  for (let index = 0; index < blockSize; index++) {
    const byte = index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0)
    unsigned += byte
    if (byte > 127) high++
  }
  const stored = readNumber(block, 148, 8)
  if (stored !== unsigned && stored !== unsigned - 256 * high) throw invalidHeader('wrong checksum')
}

function formatOf(block: Uint8Array): Format {
  const magic = bytesToString(block, 257, 265)
  if (magic === 'ustar  \0') return 'gnu'
  if (!magic.startsWith('ustar\0')) return 'v7'
  return bytesToString(block, 508, 512) === 'tar\0' ? 'star' : 'ustar'
}

function accessTime(block: Uint8Array, format: Format): TarTime | undefined {
  const start = format === 'star' ? 476 : format === 'gnu' ? 345 : -1
  if (start < 0 || block[start] === 0) return undefined
  return { seconds: readNumber(block, start, 12), nanos: 0 }
}
