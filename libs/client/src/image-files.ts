import { pipeline, Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { detectCompression } from '@flotilla/oci'
import { failedPrecondition } from '@flotilla/rpc'
import { extract, type Header } from 'tar-stream'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'

/** A member of a layer; its bytes are read before the next one comes. */
type Member = Readable & { readonly header: Header }

/** Largest file that is read out of an image, bytes. */
const largest = 8 * 1024 * 1024

/**
 * Reads some files out of an image's layers, from the top down and no further than the layers that decide. It works
 * from anywhere, since it needs only the bytes of the layers; much of a large image may have to be read for a file that
 * only its lowest layer has.
 *
 * @param layers digests, lowest first
 * @param paths without a leading slash
 * @returns the contents by path; a file that no layer has, or that one removed, is not in it
 * @throws FAILED_PRECONDITION for a path that is no file of its own, or too large
 */
export async function readImageFiles(
  client: Client,
  layers: readonly string[],
  paths: readonly string[],
  settings: CallSettings,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  const open = new Set(paths)
  for (const digest of layers.toReversed()) {
    if (open.size === 0) break
    // What a layer removes, it removes from those below it, whatever the order of its members.
    const removed = new Set<string>()
    for await (const member of membersOf(client, digest, settings)) {
      const path = member.header.name.replace(/^(\.?\/)+/, '').replace(/\/$/, '')
      for (const wanted of open) if (isRemovedBy(path, wanted)) removed.add(wanted)
      if (open.has(path)) {
        found.set(path, await textOf(member, path))
        open.delete(path)
        if (open.size === 0) break
      } else member.resume()
    }
    for (const path of removed) open.delete(path)
  }
  return found
}

/** Whether a member is the mark by which a layer hides a path, or a directory above it, in the layers below. */
function isRemovedBy(member: string, path: string): boolean {
  const name = member.slice(member.lastIndexOf('/') + 1)
  const directory = member.slice(0, Math.max(0, member.length - name.length))
  if (name === '.wh..wh..opq') return path.startsWith(directory)
  if (!name.startsWith('.wh.')) return false
  const hidden = `${directory}${name.slice('.wh.'.length)}`
  return path === hidden || path.startsWith(`${hidden}/`)
}

async function textOf(member: Member, path: string): Promise<string> {
  const { type, size = 0 } = member.header
  if (type !== 'file' && type !== 'contiguous-file') throw failedPrecondition(`/${path} of the image is no plain file`)
  if (size > largest) throw failedPrecondition(`/${path} of the image is larger than ${largest} bytes`)
  const pieces: Buffer[] = []
  for await (const piece of member) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}

/** The members of a layer. Whoever stops early ends the reading. */
async function* membersOf(client: Client, digest: string, settings: CallSettings): AsyncGenerator<Member> {
  const ending = new AbortController()
  const signal = settings.signal === undefined ? ending.signal : AbortSignal.any([settings.signal, ending.signal])
  const pieces = client.content.read({ digest, offset: 0, size: 0 }, { ...settings, signal })[Symbol.asyncIterator]()
  const members = extract()
  try {
    const first = await pieces.next()
    const start = first.done ? new Uint8Array() : first.value.data
    const bytes = Readable.from(
      (async function* () {
        yield start
        for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield next.value.data
      })(),
      { objectMode: false },
    )
    const compression = detectCompression(start)
    // Whichever of them ends badly destroys the others; the loop below then throws.
    if (compression === 'none') pipeline(bytes, members, () => {})
    else pipeline(bytes, compression === 'gzip' ? createGunzip() : createZstdDecompress(), members, () => {})
    yield* members as AsyncIterable<Member>
  } finally {
    ending.abort()
    members.destroy()
  }
}
