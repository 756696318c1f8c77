import { asked as ask } from './connection.ts'
import type { Metadata } from './store.ts'

const blobNodesKey = (digest: string) => `fl:{blob:${digest}}:nodes`
const arrivingKey = (digest: string) => `fl:{blob:${digest}}:arriving`

/** Milliseconds after which nobody is said any more to be getting a blob, should its node have died over it. */
const arrivesWithin = 3_600_000

/** Notes that a node has a blob, all of it. */
export async function addBlobNode(metadata: Metadata, digest: string, node: string): Promise<void> {
  await ask(metadata.redis.sadd(blobNodesKey(digest), node))
}

export async function removeBlobNode(metadata: Metadata, digest: string, node: string): Promise<void> {
  await ask(metadata.redis.srem(blobNodesKey(digest), node))
}

/** The nodes that have a blob; one that is listed may have lost it, one that is not listed does not have it. */
export async function blobNodes(metadata: Metadata, digest: string): Promise<string[]> {
  return (await ask(metadata.redis.smembers(blobNodesKey(digest)))).sort()
}

/** Notes that a blob is on its way to a node, which has parts of it to share. */
export async function addArriving(metadata: Metadata, digest: string, node: string): Promise<void> {
  const key = arrivingKey(digest)
  await ask(metadata.redis.multi().sadd(key, node).pexpire(key, arrivesWithin).exec())
}

export async function removeArriving(metadata: Metadata, digest: string, node: string): Promise<void> {
  await ask(metadata.redis.srem(arrivingKey(digest), node))
}

/** The nodes that are getting a blob. */
export async function arrivingNodes(metadata: Metadata, digest: string): Promise<string[]> {
  return (await ask(metadata.redis.smembers(arrivingKey(digest)))).sort()
}
