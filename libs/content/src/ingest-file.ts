import { createHash, type Hash } from 'node:crypto'
import {
  close as closeCallback,
  closeSync,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncate,
  openSync,
  renameSync,
  rmSync,
  write as writeCallback,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import type { IngestBytes } from './bytes.ts'
import { copyBlob } from './copy-blob.ts'
import { type Algorithm, type Digest, digestOf } from './digest.ts'
import { hashFile } from './hash-file.ts'
import { dataFile, isFreedAtOnce, noteUpdate } from './ingest-directory.ts'
import { ShortCalls } from './short-calls.ts'

const closeLater = promisify(closeCallback)
const datasync = promisify(fdatasync)
const sync = promisify(fsync)
const truncate = promisify(ftruncate)
const writeAt = promisify(writeCallback)

/** In place of the descriptor of a closed file: what is called with it fails. */
const none = -1

/**
 * Unwritten bytes that start writing back in the background. Without it the sync at the end of a large blob finds all
 * of it in memory, and everybody else's syncs wait behind that one.
 */
const writeBackEvery = 32 * 1024 * 1024

/** The bytes of an open ingest: its data file and the hash of what is in it. */
export class IngestFile implements IngestBytes {
  readonly #directory: string
  readonly #algorithm: Algorithm
  readonly #calls = new ShortCalls()
  #fd: number
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
    fd: number,
    hash: Hash,
    length: number,
    isBlob: boolean,
  ) {
    this.#directory = directory
    this.#algorithm = algorithm
    this.#fd = fd
    this.#hash = hash
    this.#length = length
    this.#isBlob = isBlob
  }

  /** Opens what an ingest's directory holds; bytes that are there are hashed again. */
  static async open(directory: string, algorithm: Algorithm, signal: AbortSignal): Promise<IngestFile> {
    const fd = openSync(dataFile(directory), 'r+')
    try {
      const { size, nlink } = fstatSync(fd)
      const hash = createHash(algorithm)
      await hashFile(fd, size, hash, signal)
      return new IngestFile(directory, algorithm, fd, hash, size, nlink > 1)
    } catch (error) {
      closeSync(fd)
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
    await hashFile(this.#fd, this.#length, hash, signal)
    return digestOf(algorithm, hash.digest('hex'))
  }

  async append(data: Uint8Array): Promise<void> {
    if (this.#isBlob) await this.#separate((path) => copyBlob(dataFile(this.#directory), path))
    // A write of many bytes runs in a thread of the pool while this one hashes.
    const written = this.#calls.make(data.length, () => writeSync(this.#fd, data, 0, data.length, this.#length))
    const rest = written === data.length ? undefined : writeAll(this.#fd, data, this.#length)
    this.#hash.update(data)
    await rest
    this.#length += data.length
    this.#startWriteBack()
  }

  /** Back to no bytes at all. */
  async truncate(): Promise<void> {
    await this.#writeBack
    if (this.#isBlob) await this.#separate((path) => closeSync(openSync(path, 'wx')))
    else await truncate(this.#fd, 0)
    this.#hash = createHash(this.#algorithm)
    this.#length = 0
    this.#handedOver = 0
  }

  /** Returns when the bytes are on disk. They become read-only, as the blob that they are about to be. */
  async settle(): Promise<void> {
    await this.#writeBack
    if (this.#writeBackFailure !== undefined) throw this.#writeBackFailure
    fchmodSync(this.#fd, 0o444)
    await sync(this.#fd)
  }

  async close(leftAt?: Timestamp): Promise<void> {
    await this.#writeBack
    await this.#close()
    if (leftAt !== undefined) noteUpdate(this.#directory, leftAt)
  }

  /** Goes on in a file of its own, so that the blob keeps its bytes. */
  async #separate(fill: (path: string) => unknown): Promise<void> {
    const path = dataFile(this.#directory)
    const own = `${path}.own`
    rmSync(own, { force: true })
    await fill(own)
    const fd = openSync(own, 'r+')
    renameSync(own, path)
    await this.#close()
    this.#fd = fd
    this.#isBlob = false
  }

  /** When the file's name has gone, its bytes go now, which for many takes a while. */
  async #close(): Promise<void> {
    const fd = this.#fd
    this.#fd = none
    const found = fstatSync(fd)
    if (found.nlink > 0 || isFreedAtOnce(found)) closeSync(fd)
    else await closeLater(fd)
  }

  #startWriteBack(): void {
    if (this.#writeBack !== undefined || this.#length - this.#handedOver < writeBackEvery) return
    this.#handedOver = this.#length
    this.#writeBack = datasync(this.#fd)
      // The kernel tells of a failed write-back once; the sync at the end would not hear of it again.
      .catch((error: unknown) => {
        this.#writeBackFailure = error
      })
      .finally(() => {
        this.#writeBack = undefined
      })
  }
}

async function writeAll(fd: number, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await writeAt(fd, data, done, data.length - done, position + done)
    done += bytesWritten
  }
}
