import { gzipSync } from 'node:zlib'
import { blobOf, digestOf, epoch, type LayerBlob, type LayerEntry, tarOf } from './layer.ts'

/** Bytes of a file that are compressed, and can be fetched, by themselves. */
const chunkSize = 1024 * 1024

/** The zeros at the end of a tar. */
const endOfTar = 1024

const types = { file: 'reg', directory: 'dir', symlink: 'symlink', link: 'hardlink' } as const

/**
 * A layer from which single files can be read without the rest: each chunk of a file is a gzip member of its own, then
 * come a table of contents and a footer that says where it begins. To everybody else it is a tar with gzip.
 *
 * The format: https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
export async function estargzOf(entries: Iterable<LayerEntry>): Promise<LayerBlob> {
  const compressed: Buffer[] = []
  const plain: Buffer[] = []
  let offset = 0
  let member: Buffer[] = []
  const endMember = () => {
    const bytes = Buffer.concat(member)
    const packed = gzipSync(bytes)
    plain.push(bytes)
    compressed.push(packed)
    offset += packed.length
    member = []
  }

  const contents: object[] = []
  // Says that nothing is to be fetched before it is asked for.
  const landmark = { name: '.no.prefetch.landmark', mode: 0o644, content: Buffer.of(0xf) }
  for (const entry of [landmark, ...entries]) {
    const content = Buffer.from(entry.content ?? '')
    const tar = (await tarOf([entry])).subarray(0, -endOfTar)
    const header = tar.length - Math.ceil(content.length / 512) * 512
    member.push(tar.subarray(0, header))
    const described = { ...describe(entry), size: content.length }
    if (content.length === 0) contents.push(described)
    for (let at = 0; at < content.length; at += chunkSize) {
      const chunk = content.subarray(at, at + chunkSize)
      endMember()
      const place = { offset, chunkOffset: at, chunkSize: chunk.length, chunkDigest: digestOf(chunk) }
      if (at === 0) contents.push({ ...described, digest: digestOf(content), ...place })
      else contents.push({ name: entry.name, type: 'chunk', ...place })
      member.push(chunk)
    }
    member.push(tar.subarray(header + content.length))
  }
  endMember()

  const table = Buffer.from(JSON.stringify({ version: 1, entries: contents }))
  const footer = footerOf(offset)
  member.push(await tarOf([{ name: 'stargz.index.json', content: table }]))
  endMember()
  return {
    ...blobOf('application/vnd.oci.image.layer.v1.tar+gzip', Buffer.concat([...compressed, footer])),
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': digestOf(table) },
    diffId: digestOf(Buffer.concat(plain)),
  }
}

function describe({ name, type = 'file', mode, linkname }: LayerEntry): object {
  if (!(type in types)) throw new Error(`an entry of type ${type}`)
  return {
    name,
    type: types[type as keyof typeof types],
    mode: mode ?? (type === 'directory' ? 0o755 : 0o644),
    modtime: epoch.toISOString(),
    ...(linkname ? { linkName: linkname } : {}),
  }
}

/** An empty gzip member of 51 bytes; its extra field has the offset of the table of contents. */
function footerOf(offset: number): Buffer {
  const field = Buffer.from(`${offset.toString(16).padStart(16, '0')}STARGZ`)
  const header = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, field.length + 4, 0, 0x53, 0x47, field.length, 0])
  const empty = Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])
  return Buffer.concat([header, field, empty])
}
