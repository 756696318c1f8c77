import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../digest.ts'
import type { Layout } from '../layout.ts'

/** Bytes of a piece: what one source is asked for at a time. */
export const pieceBytes = 8 * 1024 * 1024

/**
 * A blob that is being put together from pieces in any order. Which are there is on disk beside them, so that what
 * came before a crash need not come again; what is wrong in it shows when all of it is hashed.
 */
export class PartialBlob implements AsyncDisposable {
  readonly path: string
  readonly size: number
  readonly count: number
  readonly #marks: string
  readonly #file: FileHandle
  readonly #done = new Set<number>()
  readonly #taken = new Set<number>()
  /** Bytes that came of pieces whose source broke off. */
  readonly #begun = new Map<number, number>()

  private constructor(path: string, size: number, file: FileHandle) {
    this.path = path
    this.#marks = `${path}.pieces`
    this.size = size
    this.count = Math.ceil(size / pieceBytes)
    this.#file = file
  }

  static async open(layout: Layout, digest: Digest, size: number): Promise<PartialBlob> {
    const path = join(layout.arrivals, `${digest.algorithm}-${digest.hex}`)
    const file = await open(path, 'a+').then(async (made) => {
      await made.close()
      return await open(path, 'r+')
    })
    const blob = new PartialBlob(path, size, file)
    const marks = await readFile(blob.#marks).catch(() => Buffer.alloc(0))
    for (let piece = 0; piece < blob.count; piece++) if (marks[piece] === 1) blob.#done.add(piece)
    return blob
  }

  get complete(): boolean {
    return this.#done.size === this.count
  }

  /** Whether there is a piece that nobody is getting. */
  get hasFree(): boolean {
    return this.#done.size + this.#taken.size < this.count
  }

  /** Whether there is a piece to take from somebody. */
  canTake(has: (piece: number) => boolean): boolean {
    return this.#free(has).length > 0
  }

  /** Takes a piece that nobody is getting; a random one, so that nodes that get it at once can help each other. */
  take(has: (piece: number) => boolean): number | undefined {
    const free = this.#free(has)
    const piece = free[Math.floor(Math.random() * free.length)]
    if (piece !== undefined) this.#taken.add(piece)
    return piece
  }

  #free(has: (piece: number) => boolean): number[] {
    const free: number[] = []
    for (let piece = 0; piece < this.count; piece++)
      if (!this.#done.has(piece) && !this.#taken.has(piece) && has(piece)) free.push(piece)
    return free
  }

  /** @param came bytes that were written of what was missing of it: nobody need send them again */
  giveBack(piece: number, came: number): void {
    this.#taken.delete(piece)
    const { offset, size } = this.missingOf(piece)
    // One that broke off behind its last byte begins anew: to ask for no bytes is to ask for all there are.
    if (came < size) this.#begun.set(piece, offset + came - piece * pieceBytes)
    else this.#begun.delete(piece)
  }

  /** Where lies what is missing of a piece. */
  missingOf(piece: number): { readonly offset: number; readonly size: number } {
    const begun = this.#begun.get(piece) ?? 0
    const offset = piece * pieceBytes + begun
    return { offset, size: this.endOf(piece) - offset }
  }

  endOf(piece: number): number {
    return Math.min((piece + 1) * pieceBytes, this.size)
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < data.length; ) {
      const { bytesWritten } = await this.#file.write(data, done, data.length - done, position + done)
      done += bytesWritten
    }
  }

  /** Says that all bytes of a piece are written. */
  async mark(piece: number): Promise<void> {
    this.#taken.delete(piece)
    this.#begun.delete(piece)
    this.#done.add(piece)
    const marks = Buffer.alloc(this.count)
    for (const one of this.#done) marks[one] = 1
    // A mark that outlives its bytes in a power loss is found out by the hash.
    await writeFile(this.#marks, marks)
  }

  /** Whether these bytes have come. */
  covers(offset: number, size: number): boolean {
    for (let piece = Math.floor(offset / pieceBytes); piece * pieceBytes < offset + size; piece++)
      if (!this.#done.has(piece)) return false
    return true
  }

  /** As a bit for each piece. */
  bits(): Buffer {
    const bits = Buffer.alloc(Math.ceil(this.count / 8))
    for (const piece of this.#done) bits[piece >> 3] = (bits[piece >> 3] ?? 0) | (1 << (piece & 7))
    return bits
  }

  /** Drops everything: something in it was wrong. */
  async reset(): Promise<void> {
    this.#done.clear()
    this.#taken.clear()
    this.#begun.clear()
    await rm(this.#marks, { force: true })
    await this.#file.truncate(0)
  }

  /** Makes the bytes durable and read-only. */
  async settle(): Promise<void> {
    await this.#file.chmod(0o444)
    await this.#file.sync()
  }

  /** Forgets which pieces there are, the whole having got its name. */
  async forget(): Promise<void> {
    await rm(this.#marks, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

export const hasBit = (bits: Uint8Array, piece: number): boolean => (((bits[piece >> 3] ?? 0) >> (piece & 7)) & 1) === 1
