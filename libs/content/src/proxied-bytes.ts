import { createHash } from 'node:crypto'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { now } from '@flotilla/metadata'
import { dataLoss, hasCode, makeCall, notFound, type ServiceOf, status } from '@flotilla/rpc'
import { type Bytes, isAdopted, type Owner, type StoredIngest } from './bytes.ts'
import { type Digest, digestOf, parsedDigest } from './digest.ts'
import { internalRef, parseInternalRef } from './layout.ts'
import { ProxiedIngest } from './proxied-ingest.ts'

/**
 * The containerd namespace of all that is ours in the other program. One, since who may see which blob is for our
 * records to say; its own collector, if it has one, is told by a label that each blob is wanted until we remove it.
 */
const namespace = 'flotilla'
const wantedLabel = 'containerd.io/gc.root'

/** Milliseconds for an answer that needs no bytes. */
const patience = 30_000

/** Blobs in one batch. */
const batchSize = 200

/** The answer, or undefined when there is no such thing. */
async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (hasCode(error, status.NOT_FOUND)) return undefined
    throw error
  }
}

/**
 * Blobs and ingests that another program has, asked over containerd's content API. It need not run when we start.
 *
 * @param closing ends what nobody else can end
 */
export function proxiedBytes(remote: ServiceOf<ContentDefinition>, closing: AbortSignal): Bytes {
  const call = () => makeCall({ namespace, timeout: patience, signal: closing })
  const refOf = (owner: Owner) => internalRef(owner.namespace, owner.ref)
  const gone = ({ text }: Digest) => notFound(`content ${text} is no longer there to be adopted`)

  async function size({ text }: Digest): Promise<number | undefined> {
    return (await orAbsent(remote.info({ digest: text }, call())))?.info?.size
  }

  async function* read({ text }: Digest, start: number, end: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const request = { digest: text, offset: start, size: end - start }
    let at = start
    try {
      for await (const { data } of remote.read(request, makeCall({ namespace, signal }))) {
        at += data.length
        if (at > end) break
        yield data
      }
    } catch (error) {
      if (!hasCode(error, status.NOT_FOUND)) throw error
      throw notFound(`content ${text} has no bytes at the content plugin`, { cause: error })
    }
    if (at !== end) throw dataLoss(`the content plugin gave ${at - start} of ${end - start} bytes of content ${text}`)
  }

  const open = (owner: Owner, total: number, signal: AbortSignal) =>
    ProxiedIngest.open(remote, { ref: refOf(owner), namespace, total }, signal)

  async function discard(owner: Owner): Promise<void> {
    await orAbsent(remote.abort({ ref: refOf(owner) }, call()))
  }

  async function ingest(owner: Owner): Promise<StoredIngest | undefined> {
    const found = (await orAbsent(remote.status({ ref: refOf(owner) }, call())))?.status
    if (found === undefined) return undefined
    const { offset, total, startedAt = now(), updatedAt = startedAt } = found
    return { offset, total, startedAt, updatedAt }
  }

  async function ingests(): Promise<Owner[]> {
    const { statuses } = await remote.listStatuses({ filters: [] }, call())
    return statuses.flatMap(({ ref }) => parseInternalRef(ref) ?? [])
  }

  /** An ingest with the bytes of a blob, in place of one that may be there. */
  async function copy(owner: Owner, digest: Digest): Promise<ProxiedIngest> {
    const total = await size(digest)
    if (total === undefined) throw gone(digest)
    await discard(owner)
    const made = await open(owner, total, closing)
    try {
      for await (const data of read(digest, 0, total, closing)) await made.append(data)
      return made
    } catch (error) {
      await made.close().catch(() => {})
      throw error
    }
  }

  async function commit(ingest: ProxiedIngest, digest: Digest): Promise<void> {
    try {
      await ingest.commit(digest, { [wantedLabel]: new Date().toISOString() })
    } catch (error) {
      if (!hasCode(error, status.ALREADY_EXISTS)) throw error
    }
  }

  return {
    size,
    read,
    file: () => undefined,
    ingestFile: () => undefined,
    async hash(digest, size, algorithm, signal) {
      const hash = createHash(algorithm)
      for await (const data of read(digest, 0, size, signal)) hash.update(data)
      return digestOf(algorithm, hash.digest('hex'))
    },
    async remove({ text }) {
      await orAbsent(remote.delete({ digest: text }, call()))
    },
    async *blobs() {
      for await (const { info } of remote.list({ filters: [] }, makeCall({ namespace, signal: closing }))) {
        const known = info.flatMap(({ digest }) => parsedDigest(digest) ?? [])
        for (let at = 0; at < known.length; at += batchSize) yield known.slice(at, at + batchSize)
      }
    },

    ingests,
    recover: async () => undefined,
    ingest,
    async create(made, from) {
      if (from === undefined) await discard(made)
      else await (await copy(made, from)).close()
    },
    open: ({ total, ...owner }, _, signal) => open(owner, total, signal),
    freedBy: async (owner) => (await ingest(owner))?.offset ?? 0,
    discard,
    async commit(owner, from, digest) {
      if (from instanceof ProxiedIngest) return await commit(from, digest)
      const adopted = isAdopted(from) ? from.digest : digest
      if (adopted.text === digest.text) {
        if ((await size(digest)) === undefined) throw gone(digest)
        return
      }
      const made = await copy(owner, adopted)
      try {
        await commit(made, digest)
      } finally {
        await made.close()
      }
    },
  }
}
