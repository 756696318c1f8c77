import { type ByteString, isAscii, stringToBytes } from './bytes.ts'
import { blockSize, entryType } from './entry.ts'
import { writePaxRecord } from './pax.ts'

/** What the header of one member says. */
export interface HeaderFields {
  /** See `entryType`. */
  readonly type: string
  readonly name: ByteString
  readonly linkName?: ByteString
  readonly mode: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  /** Whole seconds since the epoch. */
  readonly mtime: number
  readonly deviceMajor?: number
  readonly deviceMinor?: number
  readonly xattrs?: ReadonlyMap<ByteString, Uint8Array>
}

/** Largest values of the octal fields of 8 and 12 bytes. */
const maxSmall = 0o7777777
const maxLarge = 0o77777777777

/**
 * The header of a member in pax format: one block, and an extended header before it when a value does not fit there.
 * Equal fields give equal bytes.
 */
export function tarHeader(fields: HeaderFields): Buffer {
  const records: Buffer[] = []
  const record = (key: string, value: string) => records.push(writePaxRecord(key, stringToBytes(value)))
  const { name, linkName = '', uid = 0, gid = 0, size = 0, mtime } = fields
  if (!fitsText(linkName)) record('linkpath', linkName)
  if (!fitsText(name)) record('path', name)
  if (uid > maxSmall) record('uid', String(uid))
  if (gid > maxSmall) record('gid', String(gid))
  if (size > maxLarge) record('size', String(size))
  if (mtime < 0 || mtime > maxLarge) record('mtime', String(mtime))
  for (const [key, value] of fields.xattrs ?? []) records.push(writePaxRecord(`SCHILY.xattr.${key}`, value))
  const block = headerBlock(fields)
  return records.length === 0 ? block : Buffer.concat([extendedHeader(name, Buffer.concat(records)), block])
}

/** The end of an archive. */
export function tarTrailer(): Buffer {
  return Buffer.alloc(2 * blockSize)
}

/** Zero bytes that fill a member's last block. */
export function padding(size: number): Buffer {
  return Buffer.alloc((blockSize - (size % blockSize)) % blockSize)
}

function fitsText(text: ByteString): boolean {
  return text.length <= 100 && isAscii(text)
}

function extendedHeader(name: ByteString, records: Buffer): Buffer {
  const base = name.split('/').findLast((part) => part !== '') ?? ''
  const fields = {
    type: entryType.pax,
    name: `PaxHeaders.0/${ascii(base)}`,
    mode: 0o644,
    size: records.length,
    mtime: 0,
  }
  return Buffer.concat([headerBlock(fields), records, padding(records.length)])
}

function headerBlock(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(blockSize)
  const small = (value: number, at: number) => {
    block.write(`${octal(value > maxSmall ? 0 : value, 7)}\0`, at, 'latin1')
  }
  const large = (value: number, at: number) => {
    block.write(`${octal(value < 0 || value > maxLarge ? 0 : value, 11)}\0`, at, 'latin1')
  }
  block.write(ascii(fields.name).slice(0, 100), 0, 'latin1')
  small(fields.mode & 0o7777, 100)
  small(fields.uid ?? 0, 108)
  small(fields.gid ?? 0, 116)
  large(fields.size ?? 0, 124)
  large(fields.mtime, 136)
  block.write(fields.type, 156, 'latin1')
  block.write(ascii(fields.linkName ?? '').slice(0, 100), 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  // The kernel's numbers have at most 12 and 20 bits, so they fit.
  small(fields.deviceMajor ?? 0, 329)
  small(fields.deviceMinor ?? 0, 337)
  block.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${octal(sum, 6)}\0 `, 148, 'latin1')
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function ascii(text: ByteString): string {
  return isAscii(text) ? text : text.replace(/[\u0080-\u00ff]/g, '')
}
