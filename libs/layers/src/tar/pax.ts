import { type ByteString, bytesToString, stringToBytes } from './bytes.ts'
import { invalidHeader } from './entry.ts'

const xattrPrefix = 'SCHILY.xattr.'

/** The records of one extended header. */
export interface PaxRecords {
  readonly fields: ReadonlyMap<ByteString, ByteString>
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>
}

export const noRecords: PaxRecords = { fields: new Map(), xattrs: new Map() }

/**
 * Reads `LENGTH KEY=VALUE\n` records. Values are bytes: extended attributes hold binary data. The repeated offset and
 * size records of sparse format 0.0 are collected into one `GNU.sparse.map`, the form of 0.1.
 */
export function readPax(bytes: Uint8Array): PaxRecords {
  const fields = new Map<ByteString, ByteString>()
  const xattrs = new Map<ByteString, Uint8Array>()
  const sparse: ByteString[] = []
  for (let start = 0; start < bytes.length; ) {
    const space = bytes.indexOf(0x20, start)
    const digits = space < 0 ? '' : bytesToString(bytes, start, space)
    const end = start + Number(digits)
    if (!/^\d{1,7}$/.test(digits) || end > bytes.length || end <= space + 2 || bytes[end - 1] !== 0x0a) {
      throw invalidHeader('malformed extended header record')
    }
    const equals = bytes.indexOf(0x3d, space)
    if (equals <= space + 1 || equals >= end) throw invalidHeader('extended header record without a key')
    const key = bytesToString(bytes, space + 1, equals)
    const value = bytes.subarray(equals + 1, end - 1)
    if (key.startsWith(xattrPrefix)) xattrs.set(key.slice(xattrPrefix.length), Uint8Array.from(value))
    else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      if ((sparse.length % 2 === 0) !== (key === 'GNU.sparse.offset')) throw invalidHeader('sparse map out of order')
      sparse.push(bytesToString(value))
    } else fields.set(key, bytesToString(value))
    start = end
  }
  if (sparse.length > 0) fields.set('GNU.sparse.map', sparse.join(','))
  for (const key of ['path', 'linkpath']) {
    if (fields.get(key)?.includes('\0')) throw invalidHeader(`NUL in ${key}`)
  }
  return { fields, xattrs }
}

/** The bytes of one record. */
export function writePaxRecord(key: ByteString, value: Uint8Array): Buffer {
  const rest = Buffer.concat([stringToBytes(` ${key}=`), value, Buffer.from('\n')])
  // The length counts its own digits.
  let total = rest.length + String(rest.length).length
  if (String(total).length + rest.length !== total) total = String(total).length + rest.length
  return Buffer.concat([Buffer.from(String(total)), rest])
}
