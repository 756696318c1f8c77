import { randomBytes } from 'node:crypto'
import { asked as ask, mapRedisError } from './connection.ts'
import type { Metadata } from './store.ts'

// All keys of the nodes share a slot.
const nodesKey = 'fl:{nodes}:index'
const holdersKey = 'fl:{nodes}:holders'
const recordsKey = 'fl:{nodes}:records'
const cordonedKey = 'fl:{nodes}:cordoned'
const removedKey = 'fl:{nodes}:removed'
const secretKey = 'fl:{nodes}:secret'

/**
 * Enters a node into the cluster's list, where it stays until it is taken out by an operator, with its record, encoded as
 * flotilla.cluster.v1.Node.
 *
 * @param holder the machine that claimed the name
 * @returns whether that was done: not when the machine does not have the name any more
 */
export async function registerNode(
  metadata: Metadata,
  name: string,
  holder: string,
  record: Uint8Array,
): Promise<boolean> {
  const script =
    "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end " +
    "redis.call('SADD', KEYS[2], ARGV[1]) redis.call('HSET', KEYS[3], ARGV[1], ARGV[3]) return 1"
  const keys = [holdersKey, nodesKey, recordsKey]
  return (await ask(metadata.redis.eval(script, keys.length, ...keys, name, holder, Buffer.from(record)))) === 1
}

/** The nodes of the cluster, answering or not, sorted. */
export async function nodeNames(metadata: Metadata): Promise<string[]> {
  return (await ask(metadata.redis.smembers(nodesKey))).sort()
}

/**
 * Takes a node's name for a machine, which `holder` stands for.
 *
 * @returns the one that has it: `holder`, unless another has it already
 */
export async function claimNodeName(metadata: Metadata, name: string, holder: string): Promise<string> {
  const [, held] = await Promise.all([
    ask(metadata.redis.hsetnx(holdersKey, name, holder)),
    ask(metadata.redis.hget(holdersKey, name)),
  ])
  return held ?? holder
}

/** Gives a name to another machine if the one that is thought to have it still has. */
export async function takeOverNodeName(metadata: Metadata, name: string, from: string, to: string): Promise<boolean> {
  const script =
    "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return 1"
  return (await ask(metadata.redis.eval(script, 1, holdersKey, name, from, to))) === 1
}

/** What a node last wrote about itself, encoded as flotilla.cluster.v1.Node. */
export async function nodeRecord(metadata: Metadata, name: string): Promise<Buffer | undefined> {
  return (await ask(metadata.redis.hgetBuffer(recordsKey, name))) ?? undefined
}

export async function nodeRecords(metadata: Metadata): Promise<ReadonlyMap<string, Buffer>> {
  return new Map(Object.entries(await ask(metadata.redis.hgetallBuffer(recordsKey))))
}

/** Nodes that the scheduler passes over. */
export async function cordonedNodes(metadata: Metadata): Promise<ReadonlySet<string>> {
  return new Set(await ask(metadata.redis.smembers(cordonedKey)))
}

export async function setCordoned(metadata: Metadata, name: string, cordoned: boolean): Promise<void> {
  await ask(cordoned ? metadata.redis.sadd(cordonedKey, name) : metadata.redis.srem(cordonedKey, name))
}

/** What has the name of a node that is being removed: no machine. */
export const nobody = ''

/**
 * Takes a node's name from the machine that has it, for good: the machine is remembered as removed. Nobody can have the
 * name until {@link removeNode}.
 */
export async function expelNode(metadata: Metadata, name: string): Promise<void> {
  const script =
    "local holder = redis.call('HGET', KEYS[1], ARGV[1]) " +
    "if holder and holder ~= ARGV[2] then redis.call('SADD', KEYS[2], holder) end " +
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
  await ask(metadata.redis.eval(script, 2, holdersKey, removedKey, name, nobody))
}

/** Takes a node out of the cluster's list, and frees its name. */
export async function removeNode(metadata: Metadata, name: string): Promise<void> {
  const script =
    "for i = 1, 2 do redis.call('HDEL', KEYS[i], ARGV[1]) end for i = 3, 4 do redis.call('SREM', KEYS[i], ARGV[1]) end"
  await ask(metadata.redis.eval(script, 4, holdersKey, recordsKey, nodesKey, cordonedKey, name))
}

/** Whether a machine had the name of a node that was removed. */
export async function wasRemoved(metadata: Metadata, holder: string): Promise<boolean> {
  return (await ask(metadata.redis.sismember(removedKey, holder))) === 1
}

/** What the members of a cluster know and nobody else: made by the first that asks. */
export async function clusterSecret(metadata: Metadata): Promise<Buffer> {
  const [, secret] = await Promise.all([
    ask(metadata.redis.setnx(secretKey, randomBytes(32))),
    ask(metadata.redis.getBuffer(secretKey)),
  ])
  if (secret === null) throw mapRedisError(new Error('the secret of the cluster has gone'))
  return secret
}
