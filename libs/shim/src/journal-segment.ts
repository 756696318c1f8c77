import { crc32 } from 'node:zlib'

/** Before each record: its length and the CRC-32 of its bytes, both u32 little-endian. */
const headerBytes = 8

/** Longest record that is believed; ttrpc carries no longer message. */
const maxRecord = 8 * 1024 * 1024

export function encodeRecord(payload: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(headerBytes + payload.length)
  record.writeUInt32LE(payload.length, 0)
  record.writeUInt32LE(crc32(payload), 4)
  record.set(payload, headerBytes)
  return record
}

/** The record at an offset and where the next one begins; undefined at the end or where no whole record is. */
export function decodeRecord(bytes: Buffer, offset: number): { payload: Buffer; next: number } | undefined {
  if (offset + headerBytes > bytes.length) return undefined
  const length = bytes.readUInt32LE(offset)
  const next = offset + headerBytes + length
  if (length > maxRecord || next > bytes.length) return undefined
  const payload = bytes.subarray(offset + headerBytes, next)
  return crc32(payload) === bytes.readUInt32LE(offset + 4) ? { payload, next } : undefined
}
