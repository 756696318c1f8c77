import { randomBytes } from 'node:crypto'
import { linkSync, openSync, renameSync, statSync } from 'node:fs'
import { opendir, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '@flotilla/linux'
import { notFound } from '@flotilla/rpc'
import { type Adopted, type Bytes, type IngestBytes, isAdopted, type Owner } from './bytes.ts'
import { copyBlob } from './copy-blob.ts'
import { algorithms, type Digest, digestOfFile } from './digest.ts'
import type { DirectorySync } from './directory-sync.ts'
import { filePieces, ownRoom } from './file-pieces.ts'
import { hashBlob } from './hash-file.ts'
import { createIngest, dataFile, findIngests, readIngest, removeIngest } from './ingest-directory.ts'
import { IngestFile } from './ingest-file.ts'
import type { Layout } from './layout.ts'
import { ShortCalls } from './short-calls.ts'

/** Most bytes in one piece of a blob. */
const pieceBytes = 1024 * 1024

/** Blobs in one batch. */
const batchSize = 200

/** Memory for a piece that its reader takes as it is. */
const pieceRoom = (_from: number, most: number) => ownRoom(Math.min(pieceBytes, most))

/** Blobs and ingests as files of this node, which is called by its name in errors. */
export function diskBytes(layout: Layout, directories: DirectorySync, node: string): Bytes {
  const directoryOf = ({ namespace, ref }: Owner) => layout.ingest(namespace, ref)
  const reads = new ShortCalls()
  const gone = (digest: Digest, cause: unknown) =>
    notFound(`content ${digest.text} is no longer there to be adopted`, { cause })

  // Synchronous: opening a local file takes 2 µs, through the thread pool 16. Go's reader does it for each 32 KiB.
  function openBlob(digest: Digest): number {
    try {
      return openSync(layout.blob(digest), 'r')
    } catch (error) {
      if (errnoOf(error) === 'ENOENT')
        throw notFound(`content ${digest.text} has no bytes on node ${node}`, { cause: error })
      throw error
    }
  }

  /** Links, not moves: the ingest stays whole until the record is there. */
  async function putIntoPlace(owner: Owner, from: IngestBytes | Adopted, digest: Digest): Promise<void> {
    const file = isAdopted(from) ? layout.blob(from.digest) : dataFile(directoryOf(owner))
    const blob = layout.blob(digest)
    try {
      linkSync(file, blob)
    } catch (error) {
      // Sweeps keep what is to be adopted, so this was somebody else.
      if (errnoOf(error) === 'ENOENT' && isAdopted(from)) throw gone(from.digest, error)
      if (errnoOf(error) !== 'EEXIST') throw error
      // Of another namespace, or of an earlier commit that did not get to its record. Blobs are whole when they get
      // their name, so another size means that somebody else has been at the file.
      if (statSync(blob).size !== (isAdopted(from) ? from.size : from.length)) {
        const beside = join(layout.ingests, `.${randomBytes(8).toString('hex')}`)
        linkSync(file, beside)
        renameSync(beside, blob)
      }
    }
    await directories.sync(layout.blobs(digest.algorithm))
  }

  const readInto: Bytes['readInto'] & {} = (digest, start, end, roomFor) =>
    filePieces({ open: () => openBlob(digest), digest, start, end }, roomFor, reads)

  return {
    size: async (digest) => statSync(layout.blob(digest), { throwIfNoEntry: false })?.size,
    async *read(digest, start, end) {
      for await (const { data } of readInto(digest, start, end, pieceRoom)) yield data
    },
    readInto,
    file: (digest) => layout.blob(digest),
    ingestFile: (owner) => dataFile(directoryOf(owner)),
    hash: (digest, size, algorithm, signal) => hashBlob(layout.blob(digest), size, algorithm, signal),
    remove: (digest) => unlink(layout.blob(digest)),
    async *blobs() {
      for (const algorithm of algorithms) {
        let batch: Digest[] = []
        for await (const entry of await opendir(layout.blobs(algorithm), { bufferSize: batchSize })) {
          const digest = digestOfFile(algorithm, entry.name)
          if (digest === undefined) continue
          batch.push(digest)
          if (batch.length === batchSize) {
            yield batch
            batch = []
          }
        }
        if (batch.length > 0) yield batch
      }
    },

    async ingests() {
      // Without an owner it is on its way in or out.
      return (await findIngests(layout)).flatMap(({ owner }) => owner ?? [])
    },
    async recover() {
      const found = await findIngests(layout)
      for (const { directory, owner } of found)
        if (owner === undefined) await rm(directory, { recursive: true, force: true })
      return found.flatMap(({ owner }) => owner ?? [])
    },
    ingest: async (owner) => readIngest(directoryOf(owner)),
    async create(ingest, from) {
      const copy = async (data: string) => {
        if (from === undefined) return
        await copyBlob(layout.blob(from), data).catch((error: unknown) => {
          throw gone(from, error)
        })
      }
      await createIngest(layout, ingest, from === undefined ? undefined : copy)
    },
    open: (ingest, algorithm, signal) => IngestFile.open(directoryOf(ingest), algorithm, signal),
    async freedBy(owner) {
      const data = statSync(dataFile(directoryOf(owner)), { throwIfNoEntry: false })
      // Bytes that are a blob's as well are not freed yet.
      return data === undefined || data.nlink > 1 ? 0 : data.size
    },
    discard: (owner) => removeIngest(layout, directoryOf(owner)),
    async commit(owner, from, digest) {
      if (from instanceof IngestFile) await from.settle()
      await putIntoPlace(owner, from, digest)
    },
  }
}
