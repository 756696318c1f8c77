import type { DriverMount } from '@flotilla/snapshot-driver'

/** The one mount of a snapshot: its tree, as it is. */
export function mountsOf(tree: string, readonly: boolean): DriverMount[] {
  return [{ type: 'bind', source: tree, target: '', options: ['rbind', readonly ? 'ro' : 'rw'] }]
}
