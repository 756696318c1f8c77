import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import { type FileStat, fileType } from '@flotilla/linux'
import type { ByteString } from '../tar/bytes.ts'
import { isDirectory, type TreeSide, typeOf } from './tree-side.ts'

/** One path as it is on a side. */
export interface Seen {
  readonly side: TreeSide
  readonly path: ByteString
  readonly stat: FileStat
}

export const capabilityXattr = 'security.capability'

/**
 * Whether a path counts as unchanged: metadata, and for files size and time. Times that were cut to seconds (an unpacked
 * layer has such) cannot tell two writes within a second apart, so then the content is compared.
 */
export function isSame(lower: Seen, upper: Seen): boolean {
  const [left, right] = [lower.stat, upper.stat]
  if (left.inode === right.inode && left.device === right.device) return true
  if (left.mode !== right.mode || left.uid !== right.uid || left.gid !== right.gid) return false
  if (left.rdevMajor !== right.rdevMajor || left.rdevMinor !== right.rdevMinor) return false
  if (!sameCapability(lower, upper)) return false
  if (isDirectory(right)) return true
  if (left.size !== right.size || left.mtime.seconds !== right.mtime.seconds) return false
  if (left.mtime.nanos !== 0 || right.mtime.nanos !== 0) return left.mtime.nanos === right.mtime.nanos
  return sameContent(lower, upper)
}

function sameCapability(lower: Seen, upper: Seen): boolean {
  const left = lower.side.xattr(lower.path, capabilityXattr)
  const right = upper.side.xattr(upper.path, capabilityXattr)
  return left === undefined || right === undefined ? left === right : left.equals(right)
}

function sameContent(lower: Seen, upper: Seen): boolean {
  const [left, right] = [lower.side.path(lower.path), upper.side.path(upper.path)]
  switch (typeOf(upper.stat)) {
    case fileType.symlink:
      return readlinkSync(left, 'buffer').equals(readlinkSync(right, 'buffer'))
    case fileType.regular:
      return upper.stat.size === 0 || sameBytes(left, right)
    default:
      return true
  }
}

const pieceSize = 128 * 1024

function sameBytes(left: string | Buffer, right: string | Buffer): boolean {
  const [one, other] = [openSync(left, 'r'), openSync(right, 'r')]
  try {
    const [piece, otherPiece] = [Buffer.allocUnsafe(pieceSize), Buffer.allocUnsafe(pieceSize)]
    for (;;) {
      const count = readSync(one, piece)
      if (count !== readSync(other, otherPiece)) return false
      if (count === 0) return true
      if (!piece.subarray(0, count).equals(otherPiece.subarray(0, count))) return false
    }
  } finally {
    closeSync(one)
    closeSync(other)
  }
}
