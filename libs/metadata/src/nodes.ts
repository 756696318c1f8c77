import { mapRedisError } from './connection.ts'
import type { Metadata } from './store.ts'

const nodesKey = 'fl:{nodes}:index'

/** Enters a node into the cluster's list, where it stays until it is taken out by an operator. */
export async function registerNode(metadata: Metadata, name: string): Promise<void> {
  try {
    await metadata.redis.sadd(nodesKey, name)
  } catch (error) {
    throw mapRedisError(error)
  }
}

/** The nodes of the cluster, answering or not, sorted. */
export async function nodeNames(metadata: Metadata): Promise<string[]> {
  try {
    return (await metadata.redis.smembers(nodesKey)).sort()
  } catch (error) {
    throw mapRedisError(error)
  }
}
