import type { Part } from '../part.ts'
import { containers } from './containers.ts'
import { content } from './content.ts'
import { diff } from './diff.ts'
import { events } from './events.ts'
import { images } from './images.ts'
import { introspection } from './introspection.ts'
import { leases } from './leases.ts'
import { namespaces } from './namespaces.ts'
import { nodeAgent } from './node-agent.ts'
import { nodes } from './nodes.ts'
import { prepull } from './prepull.ts'
import { sandboxes } from './sandboxes.ts'
import { snapshots } from './snapshots.ts'
import { stdio } from './stdio.ts'
import { tasks } from './tasks.ts'
import { transfer } from './transfer.ts'

/** Every part, in the order in which a process that has them all builds them. */
export const parts: readonly Part[] = [
  events,
  namespaces,
  leases,
  images,
  containers,
  content,
  snapshots,
  diff,
  transfer,
  nodeAgent,
  sandboxes,
  tasks,
  stdio,
  introspection,
  nodes,
  prepull,
]

export {
  containers,
  content,
  diff,
  events,
  images,
  introspection,
  leases,
  namespaces,
  nodeAgent,
  nodes,
  prepull,
  sandboxes,
  snapshots,
  stdio,
  tasks,
  transfer,
}
