import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const form = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

async function read(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim()
    return form.test(text) ? text : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * The UUID of the server that owns a root directory: made once and kept in a file there. Several processes may ask at
 * the same time; all get the same.
 */
export async function serverUuid(root: string): Promise<string> {
  const path = join(root, 'io.containerd.grpc.v1.introspection', 'uuid')
  const known = await read(path)
  if (known !== undefined) return known
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const uuid = randomUUID()
  const draft = `${path}.${uuid}`
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(uuid)
      await file.sync()
    } finally {
      await file.close()
    }
    await link(draft, path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
      // Another process was first; or what is there is no UUID, then it is replaced.
      if ((await read(path)) === undefined) await rename(draft, path)
    })
  } finally {
    await rm(draft, { force: true })
  }
  return (await read(path)) ?? uuid
}
