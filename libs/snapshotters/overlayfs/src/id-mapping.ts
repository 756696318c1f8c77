import { invalidArgument, unimplemented } from '@flotilla/rpc'
import { gidMappingLabel, uidMappingLabel } from '@flotilla/snapshot-driver'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** How the ids of a snapshot's files are shown in a container that has a user namespace. */
export interface IdMapping {
  /** As the labels have it: `CONTAINER:HOST:SIZE[,…]`. */
  readonly uidmap: string
  readonly gidmap: string
  /** The host's ids of the container's root. */
  readonly root: Owner
}

/**
 * The mapping that the labels ask for; undefined when they ask for none. INVALID_ARGUMENT when they cannot be read,
 * UNIMPLEMENTED when the kernel cannot do it: unmapped mounts would give the files to the wrong users.
 */
export function idMappingOf(labels: Readonly<Record<string, string>>, supported: boolean): IdMapping | undefined {
  const [uidmap, gidmap] = [labels[uidMappingLabel], labels[gidMappingLabel]]
  if (!uidmap && !gidmap) return undefined
  if (!uidmap || !gidmap) throw invalidArgument(`labels ${uidMappingLabel} and ${gidMappingLabel} go together`)
  const root = { uid: hostRoot(uidMappingLabel, uidmap), gid: hostRoot(gidMappingLabel, gidmap) }
  if (!supported) throw unimplemented('id-mapped overlay mounts need Linux 5.19')
  return { uidmap, gidmap, root }
}

/** Ids are 32 bits wide, and the highest means "no id". */
const highestId = 0xfffffffe

function hostRoot(label: string, mapping: string): number {
  let root: number | undefined
  for (const entry of mapping.split(',')) {
    const parts = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(entry)
    const [container, host, size] = (parts ?? []).slice(1).map(Number)
    if (container === undefined || host === undefined || !size || Math.max(container, host) + size - 1 > highestId)
      throw invalidArgument(`label ${label}: "${entry}" is not CONTAINER:HOST:SIZE`)
    if (container === 0) root ??= host
  }
  if (root === undefined) throw invalidArgument(`label ${label}: "${mapping}" does not map id 0`)
  return root
}
