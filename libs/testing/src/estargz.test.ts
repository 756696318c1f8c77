import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { estargzOf } from './estargz.ts'
import { digestOf } from './layer.ts'

interface Entry {
  readonly name: string
  readonly type: string
  readonly offset?: number
  readonly chunkOffset: number
  readonly chunkSize: number
}

test('each part of a file is found by the table of contents and unpacks by itself; all of it is a tar with gzip', async () => {
  const content = randomBytes(2_500_000)
  const layer = await estargzOf([
    { name: 'd', type: 'directory' },
    { name: 'd/file', content },
    { name: 'd/link', type: 'symlink', linkname: 'file' },
  ])
  expect(digestOf(gunzipSync(layer.bytes))).toBe(layer.diffId)

  const footer = layer.bytes.subarray(-51)
  const [, hex = ''] = /([0-9a-f]{16})STARGZ/.exec(footer.toString('latin1')) ?? []
  const tar = gunzipSync(layer.bytes.subarray(Number.parseInt(hex, 16)))
  const json = tar.subarray(512, tar.indexOf(0, 512))
  expect(layer.annotations).toEqual({ 'containerd.io/snapshot/stargz/toc.digest': digestOf(json) })

  const { entries } = JSON.parse(json.toString()) as { entries: Entry[] }
  expect(entries.map(({ name, type }) => `${type} ${name}`)).toEqual([
    'reg .no.prefetch.landmark',
    'dir d',
    'reg d/file',
    'chunk d/file',
    'chunk d/file',
    'symlink d/link',
  ])
  for (const { name, offset, chunkOffset, chunkSize } of entries) {
    if (name !== 'd/file') continue
    const part = gunzipSync(layer.bytes.subarray(offset)).subarray(0, chunkSize)
    expect(part.equals(content.subarray(chunkOffset, chunkOffset + chunkSize))).toBe(true)
  }
})
