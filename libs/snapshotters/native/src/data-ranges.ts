import koffi from 'koffi'

const lseek = koffi.load(null).func('long lseek(int fd, long offset, int whence)') as unknown as (
  fd: number,
  offset: number,
  whence: number,
) => number

// linux/fs.h
const SEEK_DATA = 3
const SEEK_HOLE = 4

export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** The parts of a file that are not holes, in order. One range for all of it where the file system cannot tell. */
export function* dataRanges(fd: number, size: number): Generator<ByteRange> {
  for (let at = 0; at < size; ) {
    const start = lseek(fd, at, SEEK_DATA)
    if (start < 0) {
      // ENXIO: nothing but a hole follows.
      if (koffi.errno() !== koffi.os.errno.ENXIO) yield { start: at, end: size }
      return
    }
    const hole = lseek(fd, start, SEEK_HOLE)
    const end = hole < 0 ? size : Math.min(hole, size)
    if (end <= start) return
    yield { start, end }
    at = end
  }
}
