import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, mkdir, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { invalidArgument } from '@flotilla/rpc'
import tar from 'tar-stream'

/** A directory's files and directories as a tar. Other kinds do not occur in checkpoints and are left out. */
export async function* packDirectory(path: string): AsyncGenerator<Buffer> {
  const pack = tar.pack()
  const filling = fill(pack, path, '').then(
    () => pack.finalize(),
    (error: Error) => pack.destroy(error),
  )
  try {
    for await (const chunk of pack) yield chunk as Buffer
    await filling
  } finally {
    pack.destroy()
  }
}

async function fill(pack: tar.Pack, root: string, folder: string): Promise<void> {
  for (const name of (await readdir(join(root, folder))).sort()) {
    const inside = join(folder, name)
    const stats = await lstat(join(root, inside))
    const header = { name: inside, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtime: stats.mtime }
    if (stats.isDirectory()) {
      await added(pack, { ...header, type: 'directory' })
      await fill(pack, root, inside)
    } else if (stats.isFile()) {
      await new Promise<void>((resolve, reject) => {
        const entry = pack.entry({ ...header, size: stats.size }, (error) => (error ? reject(error) : resolve()))
        if (stats.size > 0) pipeline(createReadStream(join(root, inside), { end: stats.size - 1 }), entry).catch(reject)
        else entry.end(Buffer.alloc(0))
      })
    }
  }
}

function added(pack: tar.Pack, header: Parameters<tar.Pack['entry']>[0]): Promise<void> {
  return new Promise((resolve, reject) => {
    pack.entry(header, (error) => (error ? reject(error) : resolve()))
  })
}

/** Unpacks a tar into an empty directory. INVALID_ARGUMENT for a name that leaves it and for links and devices. */
export async function unpackDirectory(chunks: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const extract = tar.extract()
  const feeding = pipeline(Readable.from(chunks), extract)
  feeding.catch(() => {})
  for await (const entry of extract) {
    const { mode = 0o600, name, type } = entry.header
    const parts = name.split('/').filter((part) => part !== '' && part !== '.')
    if (parts.includes('..')) throw invalidArgument(`checkpoint entry "${name}" leaves its directory`)
    const target = join(path, ...parts)
    if (type === 'directory') {
      await mkdir(target, { recursive: true, mode: 0o700 })
      entry.resume()
    } else if (type === 'file' || type === 'contiguous-file') {
      await mkdir(dirname(target), { recursive: true, mode: 0o700 })
      await pipeline(entry, createWriteStream(target, { flags: 'wx', mode: mode & 0o700 }))
    } else {
      throw invalidArgument(`checkpoint entry "${name}" is a ${type}`)
    }
  }
  await feeding
}
