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
  return zeros.subarray(0, (blockSize - (size % blockSize)) % blockSize)
}

const zeros = Buffer.alloc(blockSize)

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
  const block = Buffer.allocUnsafe(blockSize).fill(0)
  const small = (value: number, at: number) => writeOctal(block, value > maxSmall ? 0 : value, at, 7)
  const large = (value: number, at: number) => writeOctal(block, value < 0 || value > maxLarge ? 0 : value, at, 11)
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
  for (let at = 0; at < blockSize; at++) sum += block[at] ?? 0
  writeOctal(block, sum, 148, 6)
  block[154] = 0
  return block
}

function writeOctal(block: Buffer, value: number, at: number, digits: number): void {
  for (let place = at + digits - 1, left = value; place >= at; place--, left = Math.floor(left / 8))
    block[place] = 0x30 + (left % 8)
}

function ascii(text: ByteString): string {
  return isAscii(text) ? text : text.replace(/[\u0080-\u00ff]/g, '')
}
