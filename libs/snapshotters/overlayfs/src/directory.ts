import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { lchown, lstatx } from '@flotilla/linux'
import type { Owner } from './id-mapping.ts'

export interface NewOverlayDirectory {
  readonly readonly: boolean
  /** Who the container's root is outside; undefined when ids are not mapped. */
  readonly owner: Owner | undefined
  /** The `fs` directory of the nearest parent. */
  readonly parent: string | undefined
}

/** Gives a directory the owner of another one. */
export function giveOwner(own: string, parent: string): void {
  const found = lstatx(parent)
  if (found !== undefined) lchown(own, found.uid, found.gid)
}

/** Fills a snapshot's directory, by calls that do not leave the thread. The modes hold whatever the process's umask is. */
export function makeDirectory(directory: string, { readonly, owner, parent }: NewOverlayDirectory): void {
  const own = join(directory, 'fs')
  mkdirSync(own)
  chmodSync(own, 0o755)
  // The root of a mount has the owner of the uppermost directory, so it must be that of the tree below.
  if (owner !== undefined) lchown(own, owner.uid, owner.gid)
  else if (parent !== undefined) giveOwner(own, parent)
  if (readonly) return
  const work = join(directory, 'work')
  mkdirSync(work)
  chmodSync(work, 0o711)
}
