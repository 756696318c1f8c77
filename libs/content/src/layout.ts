import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { algorithms, type Digest } from './digest.ts'

/** Where things lie below the store's directory; the same names as containerd's own content store has. */
export interface Layout {
  readonly root: string
  readonly ingests: string
  /** Where blobs that come from other nodes are put together. */
  readonly arrivals: string
  /** The file of a blob. */
  blob(digest: Digest): string
  /** The directory of blobs of one algorithm. */
  blobs(algorithm: string): string
  /** The directory of an ingest. */
  ingest(namespace: string, ref: string): string
}

export function layoutOf(root: string): Layout {
  const ingests = join(root, 'ingest')
  return {
    root,
    ingests,
    arrivals: join(root, 'arriving'),
    blob: (digest) => join(root, 'blobs', digest.algorithm, digest.hex),
    blobs: (algorithm) => join(root, 'blobs', algorithm),
    ingest: (namespace, ref) => join(ingests, createHash('sha256').update(internalRef(namespace, ref)).digest('hex')),
  }
}

export async function makeDirectories(layout: Layout): Promise<void> {
  await mkdir(layout.ingests, { recursive: true })
  await mkdir(layout.arrivals, { recursive: true })
  for (const algorithm of algorithms) await mkdir(layout.blobs(algorithm), { recursive: true })
}

// containerd counts an ingest's incarnations in the middle part. Ours replace one another in place, so it is constant.
const incarnation = '1'

/** What names an ingest on disk: refs of different namespaces must not meet. */
export const internalRef = (namespace: string, ref: string): string => `${namespace}/${incarnation}/${ref}`

export function parseInternalRef(text: string): { namespace: string; ref: string } | undefined {
  // A namespace is an identifier and has no slash; a ref may have any.
  const [namespace, middle] = text.split('/', 2)
  if (!namespace || middle !== incarnation) return undefined
  const ref = text.slice(namespace.length + middle.length + 2)
  return ref === '' ? undefined : { namespace, ref }
}
