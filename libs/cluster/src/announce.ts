import { Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { fromMillis, type Metadata, registerNode } from '@flotilla/metadata'
import type { NatsConnection } from 'nats'
import { announceEvery, askSubject, presenceSubject } from './presence.ts'

/** Milliseconds between two writes of the record to the metadata store, where those read it who never heard the node. */
const recordEvery = 10_000

export interface Announcement {
  readonly nats: NatsConnection
  readonly metadata: Metadata
  readonly name: string
  /** What this machine has the name as, from joining. */
  readonly holder: string
  /** The node as it is now. */
  readonly describe: () => Promise<Node>
  readonly logger: Record<'error' | 'warn', (about: object, message: string) => void>
}

/**
 * Says that the node is there, again and again, until it is disposed: then it says that the node leaves. A node that was
 * removed meanwhile, or whose name went to another machine, falls silent: its containers run on, for nobody to see.
 */
export async function announce(announcement: Announcement): Promise<AsyncDisposable> {
  const { describe, holder, logger, metadata, name, nats } = announcement
  let recordedAt = Number.NEGATIVE_INFINITY
  let over = false
  /** Whether the name is not this machine's any more. */
  let out = false

  async function say(status: NodeStatus): Promise<void> {
    const node = { ...(await describe()), name, status, seenAt: fromMillis(Date.now()) }
    const bytes = Node.encode(node).finish()
    if (!nats.isClosed()) nats.publish(presenceSubject(name), bytes)
    const leaves = status === NodeStatus.NODE_STATUS_NOT_READY
    if (!leaves && performance.now() - recordedAt < recordEvery) return
    recordedAt = performance.now()
    out = !(await registerNode(metadata, name, holder, bytes))
    if (out) logger.error({ node: name }, 'this node was removed from the cluster, or another machine has its name')
  }
  const sayReady = async () => {
    if (over || out) return
    try {
      await say(NodeStatus.NODE_STATUS_READY)
    } catch (err) {
      // The stores are away: it is said again in a moment.
      logger.warn({ err, node: name }, 'could not write the record of this node')
    }
  }
  await say(NodeStatus.NODE_STATUS_READY)
  const timer = setInterval(() => void sayReady(), announceEvery)
  const asked = nats.subscribe(askSubject, { callback: () => void sayReady() })
  return {
    async [Symbol.asyncDispose]() {
      over = true
      clearInterval(timer)
      asked.unsubscribe()
      if (out) return
      await say(NodeStatus.NODE_STATUS_NOT_READY).catch((err: unknown) =>
        logger.warn({ err, node: name }, 'could not take leave'),
      )
    },
  }
}
