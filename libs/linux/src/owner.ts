import { lchownat } from './at.ts'
import { AT_FDCWD } from './at-flags.ts'
import type { Path } from './libc.ts'

/** Sets the owner of a path, not following a final symlink. */
export function lchown(path: Path, uid: number, gid: number): void {
  lchownat(AT_FDCWD, path, uid, gid)
}
