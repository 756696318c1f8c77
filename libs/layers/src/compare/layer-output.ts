import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync, writeSync } from 'node:fs'
import { createGzip, createZstdCompress } from 'node:zlib'
import type { Compression } from '@flotilla/oci/compression'

export interface CompareResult {
  /** Of the file written. */
  readonly digest: string
  /** Bytes of the file written. */
  readonly size: number
  /** Of the tar. */
  readonly uncompressedDigest: string
  readonly uncompressedSize: number
}

/** Pieces are collected to this many bytes before they are handed on. */
const chunkSize = 256 * 1024

/** A new layer file: takes the bytes of a tar, hashes and compresses them (on another thread), hashes the result. */
export class LayerOutput implements Disposable {
  readonly #fd: number
  readonly #compressor: ReturnType<typeof createGzip | typeof createZstdCompress> | undefined
  readonly #plain = createHash('sha256')
  readonly #stored = createHash('sha256')
  #plainSize = 0
  #storedSize = 0
  #pieces: Buffer[] = []
  #collected = 0
  #failure: Error | undefined

  constructor(path: string, compression: Compression) {
    this.#fd = openSync(path, 'wx', 0o600)
    this.#compressor =
      compression === 'gzip'
        ? createGzip({ chunkSize })
        : compression === 'zstd'
          ? createZstdCompress({ chunkSize })
          : undefined
    this.#compressor?.on('data', (chunk: Buffer) => this.#store(chunk))
    this.#compressor?.on('error', (error: Error) => {
      this.#failure = error
    })
  }

  [Symbol.dispose](): void {
    this.#compressor?.destroy()
    closeSync(this.#fd)
  }

  /** Takes a piece; the promise, when there is one, is to be awaited before the next. */
  write(piece: Buffer): Promise<void> | undefined {
    this.#pieces.push(piece)
    this.#collected += piece.length
    return this.#collected < chunkSize ? undefined : this.#flush()
  }

  async finish(): Promise<CompareResult> {
    await this.#flush()
    if (this.#compressor !== undefined) {
      this.#compressor.end()
      await once(this.#compressor, 'end')
    }
    if (this.#failure !== undefined) throw this.#failure
    return {
      digest: `sha256:${this.#stored.digest('hex')}`,
      size: this.#storedSize,
      uncompressedDigest: `sha256:${this.#plain.digest('hex')}`,
      uncompressedSize: this.#plainSize,
    }
  }

  async #flush(): Promise<void> {
    const chunk = Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#collected = 0
    this.#plain.update(chunk)
    this.#plainSize += chunk.length
    if (this.#failure !== undefined) throw this.#failure
    if (this.#compressor === undefined) this.#store(chunk)
    else if (!this.#compressor.write(chunk)) await once(this.#compressor, 'drain')
  }

  #store(chunk: Buffer): void {
    this.#stored.update(chunk)
    this.#storedSize += chunk.length
    try {
      for (let at = 0; at < chunk.length; ) at += writeSync(this.#fd, chunk, at)
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      if (this.#compressor === undefined) throw error
      this.#compressor.destroy(this.#failure)
    }
  }
}
