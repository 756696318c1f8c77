import { huffmanDecoded } from './huffman.ts'

// Header compression, RFC 7541.

/** Name in lower case, and value, each byte a character. */
export type Field = readonly [name: string, value: string]

/** Appendix A, from index 1. */
const staticTable: readonly Field[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  ...['200', '204', '206', '304', '400', '404', '500'].map((code): Field => [':status', code]),
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...[
    'accept-language',
    'accept-ranges',
    'accept',
    'access-control-allow-origin',
    'age',
    'allow',
    'authorization',
    'cache-control',
    'content-disposition',
    'content-encoding',
    'content-language',
    'content-length',
    'content-location',
    'content-range',
    'content-type',
    'cookie',
    'date',
    'etag',
    'expect',
    'expires',
    'from',
    'host',
    'if-match',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'last-modified',
    'link',
    'location',
    'max-forwards',
    'proxy-authenticate',
    'proxy-authorization',
    'range',
    'referer',
    'refresh',
    'retry-after',
    'server',
    'set-cookie',
    'strict-transport-security',
    'transfer-encoding',
    'user-agent',
    'vary',
    'via',
    'www-authenticate',
  ].map((name): Field => [name, '']),
]

/** What the table may hold: the protocol's default, which we do not change. */
const tableBytes = 4096
/** What a field counts beside its characters. */
const fieldOverhead = 32
/** Most that the fields of a block count together; a small block can name a large field often. */
export const maxListBytes = 64 * 1024
/** Blocks remembered between two changes of the table. */
const maxRemembered = 64
/** Largest block that is remembered: those of calls that are made again and again are smaller. */
const maxRememberedBytes = 256
/** Says at the beginning of a block that the sender's table is empty and stays so. */
export const tableSizeZero = Buffer.from([0x20])

/** Reads the header blocks of one connection, each of them and in order: they build on one another. */
export class HeaderDecoder {
  /** The oldest first. */
  #table: Field[] = []
  #size = 0
  #limit = tableBytes
  /** Blocks that only point into the tables mean the same until the table changes. */
  readonly #remembered = new Map<string, readonly Field[]>()

  /**
   * The fields of a block, undefined when they count more than {@link maxListBytes}. A block that came before may give
   * the same array. Throws when the block is not valid, after which the connection is of no use.
   */
  decode(block: Buffer): readonly Field[] | undefined {
    const key = block.length > maxRememberedBytes ? undefined : block.toString('latin1')
    const known = key === undefined ? undefined : this.#remembered.get(key)
    if (known) return known
    const fields: Field[] = []
    let [at, listed, pointsOnly] = [0, 0, true]
    const integer = (prefix: number): number => {
      const mask = (1 << prefix) - 1
      let value = byteAt(block, at++) & mask
      if (value < mask) return value
      for (let shift = 0; ; shift += 7) {
        const byte = byteAt(block, at++)
        value += (byte & 0x7f) * 2 ** shift
        if (shift > 21) throw new Error('a number that is too large')
        if (byte < 0x80) return value
      }
    }
    const text = (): string => {
      const packed = byteAt(block, at) >= 0x80
      const length = integer(7)
      if (at + length > block.length) throw new Error('a header block that is cut off')
      const bytes = block.subarray(at, at + length)
      at += length
      return packed ? huffmanDecoded(bytes) : bytes.toString('latin1')
    }
    const literal = (prefix: number): Field => {
      const index = integer(prefix)
      return [index === 0 ? text() : this.#field(index)[0], text()]
    }
    while (at < block.length) {
      const first = byteAt(block, at)
      if (first >= 0x20 && first < 0x40) {
        if (listed > 0) throw new Error('a change of the table size within a block')
        pointsOnly = false
        const limit = integer(5)
        if (limit > tableBytes) throw new Error(`a table of ${limit} bytes`)
        this.#limit = limit
        this.#shrink()
        continue
      }
      let field: Field
      if (first >= 0x80) field = this.#field(integer(7))
      else if (first >= 0x40) {
        pointsOnly = false
        field = literal(6)
        this.#add(field)
      } else {
        pointsOnly = false
        field = literal(4)
      }
      // The rest is read all the same: the blocks that follow build on what it does to the table.
      listed += sizeOf(field)
      if (listed <= maxListBytes) fields.push(field)
    }
    if (listed > maxListBytes) return undefined
    if (pointsOnly && key !== undefined && this.#remembered.size < maxRemembered) this.#remembered.set(key, fields)
    return fields
  }

  #field(index: number): Field {
    const field =
      index <= staticTable.length
        ? staticTable[index - 1]
        : this.#table[this.#table.length - (index - staticTable.length)]
    if (field === undefined) throw new Error(`no header field ${index}`)
    return field
  }

  #add(field: Field): void {
    this.#table.push(field)
    this.#size += sizeOf(field)
    this.#shrink()
  }

  /** Makes the table fit; what was remembered points elsewhere now. */
  #shrink(): void {
    this.#remembered.clear()
    while (this.#size > this.#limit) {
      const oldest = this.#table.shift()
      if (oldest === undefined) break
      this.#size -= sizeOf(oldest)
    }
  }
}

const sizeOf = ([name, value]: Field) => name.length + value.length + fieldOverhead

function byteAt(block: Buffer, at: number): number {
  const byte = block[at]
  if (byte === undefined) throw new Error('a header block that is cut off')
  return byte
}

/** A header block of these fields; the receiver's table stays as it is. */
export function headerBlock(fields: readonly Field[]): Buffer {
  const parts: Buffer[] = []
  for (const field of fields) {
    const index = staticTable.findIndex(([name, value]) => name === field[0] && value === field[1]) + 1
    if (index > 0) parts.push(Buffer.from([0x80 | index]))
    else parts.push(Buffer.from([0]), textOf(field[0]), textOf(field[1]))
  }
  return Buffer.concat(parts)
}

function textOf(text: string): Buffer {
  const head: number[] = []
  if (text.length < 0x7f) head.push(text.length)
  else {
    head.push(0x7f)
    let rest = text.length - 0x7f
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) head.push((rest % 0x80) | 0x80)
    head.push(rest)
  }
  return Buffer.concat([Buffer.from(head), Buffer.from(text, 'latin1')])
}
