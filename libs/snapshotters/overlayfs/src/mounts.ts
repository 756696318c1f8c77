import type { DriverMount } from '@flotilla/snapshot-driver'
import type { IdMapping } from './id-mapping.ts'

export interface OverlayPaths {
  readonly readonly: boolean
  /** The snapshot's own `fs` and `work` directories. */
  readonly own: string
  readonly work: string
  /** The parents' `fs` directories, nearest first. */
  readonly parents: readonly string[]
  readonly mapping: IdMapping | undefined
  /** Configured options and those that the kernel needs. */
  readonly mountOptions: readonly string[]
}

/**
 * The mounts of a snapshot. The kernel refuses an overlay of a single directory, so what has only one is a bind mount.
 * `uidmap` and `gidmap` are instructions to containerd's mounter, not options of the kernel.
 */
export function mountsOf(paths: OverlayPaths): DriverMount[] {
  const { readonly, own, work, parents, mapping, mountOptions } = paths
  const mapped = mapping === undefined ? [] : [`uidmap=${mapping.uidmap}`, `gidmap=${mapping.gidmap}`]
  const [nearest] = parents
  if (nearest === undefined) return [bind(own, [...mapped, readonly ? 'ro' : 'rw', 'rbind'])]
  if (readonly && parents.length === 1) return [bind(nearest, [...mapped, 'ro', 'rbind'])]
  const writable = readonly ? [] : [`workdir=${work}`, `upperdir=${own}`]
  const options = [...mapped, ...writable, `lowerdir=${parents.join(':')}`, ...mountOptions]
  return [{ type: 'overlay', source: 'overlay', target: '', options }]
}

function bind(source: string, options: string[]): DriverMount {
  return { type: 'bind', source, target: '', options }
}
