import { bytesToString } from './bytes.ts'
import { invalidHeader, type TarTime } from './entry.ts'

/** A numeric header field: octal text, or base 256 when the first bit is set. Must fit a double exactly. */
export function readNumber(block: Uint8Array, start: number, length: number): number {
  const first = block[start] ?? 0
  if (first & 0x80) return readBase256(block, start, length)
  let from = start
  let to = start + length
  while (from < to && isPadding(block[from])) from++
  while (to > from && isPadding(block[to - 1])) to--
  let value = 0
  for (let index = from; index < to; index++) {
    const digit = (block[index] ?? 0) - 0x30
    // Some writers put the next number after a NUL.
    if (digit === -0x30) break
    if (digit < 0 || digit > 7) {
      throw invalidHeader(`not an octal number: ${JSON.stringify(bytesToString(block, from, to))}`)
    }
    value = value * 8 + digit
  }
  return value
}

function isPadding(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0
}

function readBase256(block: Uint8Array, start: number, length: number): number {
  const negative = ((block[start] ?? 0) & 0x40) !== 0
  let value = 0n
  for (let index = start; index < start + length; index++) {
    let byte = block[index] ?? 0
    if (negative) byte ^= 0xff
    if (index === start) byte &= 0x7f
    value = (value << 8n) | BigInt(byte)
  }
  const result = Number(negative ? ~value : value)
  if (!Number.isSafeInteger(result)) throw invalidHeader('number out of range')
  return result
}

/** A decimal record of an extended header. */
export function readDecimal(text: string): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw invalidHeader(`not a number: ${JSON.stringify(text)}`)
  return value
}

/** A time record: decimal seconds with any number of digits after the point, of which nine count. */
export function readTime(text: string): TarTime {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text)
  if (match === null) throw invalidHeader(`not a time: ${JSON.stringify(text)}`)
  const [, sign, whole = '', fraction = ''] = match
  const seconds = Number(whole)
  const nanos = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === '') return { seconds, nanos }
  return nanos === 0 ? { seconds: -seconds, nanos } : { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }
}
