import { blobNodes } from '@flotilla/metadata'
import { sourcePrefix } from '@flotilla/oci'
import { makeCall } from '@flotilla/rpc'
import type { Digest } from '../digest.ts'
import type { Store } from '../store.ts'

/** Milliseconds for one node to get a copy. */
const patience = 600_000

/**
 * Has other nodes take copies of a blob, until as many as the policy says have one and answer. Nobody waits for it: a node
 * that could not is told of in the log.
 */
export async function keepCopies(
  store: Store,
  namespace: string,
  digest: Digest,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const { copies, logger, metadata, node, peers } = store
  if (peers === undefined || copies <= 1) return
  // What a client pulled is to be had again where it came from.
  if (Object.keys(labels).some((label) => label.startsWith(sourcePrefix))) return
  try {
    const holders = new Set([node, ...(await blobNodes(metadata, digest.text))])
    const ready = await peers.ready()
    const count = ready.filter((name) => holders.has(name)).length
    const others = ready.filter((name) => !holders.has(name)).sort(() => Math.random() - 0.5)
    const chosen = others.slice(0, Math.max(0, copies - count))
    await Promise.all(
      chosen.map((name) =>
        peers
          .local(name)
          .bring({ digest: digest.text }, makeCall({ namespace, timeout: patience, signal: store.closing })),
      ),
    )
  } catch (err) {
    logger?.warn({ err, digest: digest.text }, 'a blob has fewer copies than it should')
  }
}
