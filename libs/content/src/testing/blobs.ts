import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import type { Call, ServiceOf } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'

type Content = ServiceOf<typeof ContentDefinition>

export const digestOf = (data: Uint8Array | string) => `sha256:${createHash('sha256').update(data).digest('hex')}`

/** Writes a blob and commits it; answers its digest. */
export async function put(content: Content, call: Call, data: Uint8Array | string, ref = `put ${digestOf(data)}`) {
  const writer = contentWriter(content, call)
  try {
    await writer.send({ ref, action: WriteAction.COMMIT, data: Buffer.from(data) })
  } finally {
    await writer.end().catch(() => {})
  }
  return digestOf(data)
}

/** Writes part of a blob and leaves it so. */
export async function begin(content: Content, call: Call, ref: string, data: Uint8Array | string, expected = '') {
  const writer = contentWriter(content, call)
  try {
    const opened = await writer.send({ ref, expected })
    if (data.length === 0) return opened
    return await writer.send({ action: WriteAction.WRITE, offset: opened.offset, data: Buffer.from(data) })
  } finally {
    await writer.end().catch(() => {})
  }
}

export async function read(content: Content, call: Call, digest: string): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const { data } of content.read({ digest, offset: 0, size: 0 }, call)) pieces.push(data)
  return Buffer.concat(pieces)
}

const directory = (root: string, ...parts: string[]) => join(root, 'io.containerd.content.v1.content', ...parts)

/** The digests of all blob files, sorted; each is checked against its name. */
export async function blobFiles(root: string): Promise<string[]> {
  const names = await readdir(directory(root, 'blobs', 'sha256'))
  for (const name of names) {
    const found = digestOf(await readFile(directory(root, 'blobs', 'sha256', name)))
    if (found !== `sha256:${name}`) throw new Error(`blob file ${name} holds ${found}`)
  }
  return names.map((name) => `sha256:${name}`).sort()
}

/** Names in the directory of ingests. */
export const ingestDirectories = (root: string): Promise<string[]> => readdir(directory(root, 'ingest'))

export const storeDirectory = directory
