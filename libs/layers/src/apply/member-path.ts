import type { ByteString } from '../tar/bytes.ts'

/** Where a member of an archive goes, before symlinks are looked at. */
export interface MemberPath {
  /** Components of the directory; never '', '.' or '..'. */
  readonly directory: readonly ByteString[]
  /** Last component; '' for the root itself. */
  readonly base: ByteString
}

/**
 * Cleans a member's name as text: empty and `.` components go, `..` takes its predecessor away and stops at the root, so
 * that neither an absolute name nor one that climbs leaves it.
 */
export function memberPath(name: ByteString): MemberPath {
  const parts = cleanComponents(name)
  const base = parts.pop()
  return { directory: parts, base: base ?? '' }
}

export function cleanComponents(name: ByteString): ByteString[] {
  const parts: ByteString[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts
}
