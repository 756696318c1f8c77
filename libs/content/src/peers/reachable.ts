import { blobNodes } from '@flotilla/metadata'
import type { Digest } from '../digest.ts'
import type { Store } from '../store.ts'

/** Whether another node that answers has a blob, so that nobody need bring its bytes. */
export async function isReachable({ metadata, node, peers }: Store, digest: Digest): Promise<boolean> {
  if (peers === undefined) return false
  for (const name of await blobNodes(metadata, digest.text))
    if (name !== node && (await peers.isReady(name))) return true
  return false
}
