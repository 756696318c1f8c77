import { type Metadata, snapshotTable, tables } from '@flotilla/metadata'

const prefix = 'containerd.io/gc.bref.'
/** Ties a mount to a container. */
export const containerReference = `${prefix}container`

const plain = { container: tables.containers, content: tables.content, image: tables.images } as const

/** Where the record is that a label `containerd.io/gc.bref.KIND[.X|/X]` names; snapshots are those of the node. */
function tableOf(key: string, node: string): string | undefined {
  const kind = key.slice(prefix.length)
  const snapshotter = /^snapshot\.([^/]+)/.exec(kind)?.[1]
  if (snapshotter !== undefined) return snapshotTable(node, snapshotter)
  const name = /^(container|content|image)(?:[./]|$)/.exec(kind)?.[1] as keyof typeof plain | undefined
  return name && plain[name]
}

/** Whether something that the labels tie a mount to is there; undefined when they tie it to nothing. */
export async function isReferredTo(
  metadata: Metadata,
  namespace: string,
  node: string,
  labels: Readonly<Record<string, string>>,
): Promise<boolean | undefined> {
  let tied = false
  for (const [key, field] of Object.entries(labels)) {
    const table = key.startsWith(prefix) ? tableOf(key, node) : undefined
    if (table === undefined) continue
    tied = true
    if ((await metadata.get(namespace, table, field)) !== undefined) return true
  }
  return tied ? false : undefined
}
