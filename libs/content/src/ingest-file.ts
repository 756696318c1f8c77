import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import type { IngestBytes } from './bytes.ts'
import { copyBlob } from './copy-blob.ts'
import { type Algorithm, type Digest, digestOf } from './digest.ts'
import { hashFile } from './hash-file.ts'
import { dataFile, noteUpdate } from './ingest-directory.ts'

/**
 * Unwritten bytes that start writing back in the background. Without it the sync at the end of a large blob finds all
 * of it in memory, and everybody else's syncs wait behind that one.
 */
const writeBackEvery = 32 * 1024 * 1024

/** The bytes of an open ingest: its data file and the hash of what is in it. */
export class IngestFile implements IngestBytes {
  readonly #directory: string
  readonly #algorithm: Algorithm
  #file: FileHandle
  #hash: Hash
  #length: number
  /** The data file is a blob as well: a commit was cut off after it had put the file into place. */
  #isBlob: boolean
  #handedOver = 0
  #writeBack: Promise<void> | undefined
  #writeBackFailure: unknown

  private constructor(
    directory: string,
    algorithm: Algorithm,
    file: FileHandle,
    hash: Hash,
    length: number,
    isBlob: boolean,
  ) {
    this.#directory = directory
    this.#algorithm = algorithm
    this.#file = file
    this.#hash = hash
    this.#length = length
    this.#isBlob = isBlob
  }

  /** Opens what an ingest's directory holds; bytes that are there are hashed again. */
  static async open(directory: string, algorithm: Algorithm, signal: AbortSignal): Promise<IngestFile> {
    const file = await open(dataFile(directory), 'r+')
    try {
      const { size, nlink } = await file.stat()
      const hash = createHash(algorithm)
      await hashFile(file, size, hash, signal)
      return new IngestFile(directory, algorithm, file, hash, size, nlink > 1)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  get length(): number {
    return this.#length
  }

  /** Digest of the bytes so far. */
  digest(): Digest {
    return digestOf(this.#algorithm, this.#hash.copy().digest('hex'))
  }

  /** The same with another algorithm, which means to read everything again. */
  async digestAs(algorithm: Algorithm, signal: AbortSignal): Promise<Digest> {
    if (algorithm === this.#algorithm) return this.digest()
    const hash = createHash(algorithm)
    await hashFile(this.#file, this.#length, hash, signal)
    return digestOf(algorithm, hash.digest('hex'))
  }

  async append(data: Uint8Array): Promise<void> {
    if (this.#isBlob) await this.#separate((path) => copyBlob(dataFile(this.#directory), path))
    // The write runs in a thread of the pool while this one hashes.
    const written = writeAll(this.#file, data, this.#length)
    this.#hash.update(data)
    await written
    this.#length += data.length
    this.#startWriteBack()
  }

  /** Back to no bytes at all. */
  async truncate(): Promise<void> {
    await this.#writeBack
    if (this.#isBlob) await this.#separate(async (path) => (await open(path, 'wx')).close())
    else await this.#file.truncate(0)
    this.#hash = createHash(this.#algorithm)
    this.#length = 0
    this.#handedOver = 0
  }

  /** Returns when the bytes are on disk. They become read-only, as the blob that they are about to be. */
  async settle(): Promise<void> {
    await this.#writeBack
    if (this.#writeBackFailure !== undefined) throw this.#writeBackFailure
    await this.#file.chmod(0o444)
    await this.#file.sync()
  }

  async close(leftAt?: Timestamp): Promise<void> {
    await this.#writeBack
    await this.#file.close()
    if (leftAt !== undefined) await noteUpdate(this.#directory, leftAt)
  }

  /** Goes on in a file of its own, so that the blob keeps its bytes. */
  async #separate(fill: (path: string) => Promise<unknown>): Promise<void> {
    const path = dataFile(this.#directory)
    const own = `${path}.own`
    await rm(own, { force: true })
    await fill(own)
    const file = await open(own, 'r+')
    await rename(own, path)
    await this.#file.close()
    this.#file = file
    this.#isBlob = false
  }

  #startWriteBack(): void {
    if (this.#writeBack !== undefined || this.#length - this.#handedOver < writeBackEvery) return
    this.#handedOver = this.#length
    this.#writeBack = this.#file
      .datasync()
      // The kernel tells of a failed write-back once; the sync at the end would not hear of it again.
      .catch((error: unknown) => {
        this.#writeBackFailure = error
      })
      .finally(() => {
        this.#writeBack = undefined
      })
  }
}

async function writeAll(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done)
    done += bytesWritten
  }
}
