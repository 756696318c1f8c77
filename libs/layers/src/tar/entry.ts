import type { ByteString } from './bytes.ts'

export const blockSize = 512

/** A moment as seconds since the epoch and 0 to 999,999,999 nanoseconds after them. */
export interface TarTime {
  readonly seconds: number
  readonly nanos: number
}

/** Type flags of the tar formats. */
export const entryType = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  global: 'g',
  pax: 'x',
  gnuLongName: 'L',
  gnuLongLink: 'K',
  gnuSparse: 'S',
} as const

/** One member of an archive, with all extended headers worked in. */
export interface TarEntry {
  /** The type flag's character; NUL and GNU's sparse type appear as '0' (or '5' when the name ends in a slash). */
  readonly type: string
  readonly name: ByteString
  readonly linkName: ByteString
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the file as it is unpacked, holes included. */
  readonly size: number
  readonly mtime: TarTime
  readonly atime: TarTime | undefined
  readonly deviceMajor: number
  readonly deviceMinor: number
  /** Name → value, from `SCHILY.xattr.` records. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>
}

/** A tar that cannot be read. */
export class TarError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'TarError'
  }
}

export function invalidHeader(detail: string): TarError {
  return new TarError(`invalid tar header: ${detail}`)
}
