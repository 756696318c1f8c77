import { execFile } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { chmod, mkdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errnoOf, mountAll, unmountAll } from '@flotilla/linux'
import { notFound } from '@flotilla/rpc'
import { Turns } from '@flotilla/turns'

const run = promisify(execFile)

/** The layers of a driver as images and as mounts, below `ROOT/lower`. */
export interface Lowers {
  /** Where a committed layer is mounted; mounts it when it is not. NOT_FOUND when it has no image. */
  mounted(id: string): Promise<string>
  /** Makes the image of a layer, in place of one from an earlier attempt. NOT_FOUND once others build upon it. */
  make(id: string, signal: AbortSignal): Promise<void>
  /** Unmounts a layer. Not mounted is fine. */
  unmount(id: string): Promise<void>
}

/** @param pathOf the directory of a snapshot, which has the tree in `fs` */
export async function openLowers(root: string, pathOf: (id: string) => string): Promise<Lowers> {
  const folder = join(root, 'lower')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const { dev } = lstatSync(folder)
  /** One thing at a time for each layer. */
  const turns = new Turns()
  const place = (id: string) => join(folder, id)
  const isMounted = (id: string) => {
    const state = lstatSync(place(id), { throwIfNoEntry: false })
    return state !== undefined && state.dev !== dev
  }

  async function mount(id: string): Promise<void> {
    const image = join(pathOf(id), 'layer.erofs')
    if (lstatSync(image, { throwIfNoEntry: false }) === undefined) throw notFound(`image of snapshot directory ${id}`)
    await mkdir(place(id), { mode: 0o700 }).catch((error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw error
    })
    await mountAll([{ type: 'erofs', source: image, target: '', options: ['loop', 'ro'] }], place(id))
    // Somebody builds upon it, so it is committed for good and nobody writes there any more. A commit that comes too late
    // must find all of it or nothing.
    const [tree, leaving] = [join(pathOf(id), 'fs'), join(pathOf(id), 'leaving')]
    await rename(tree, leaving).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error
    })
    for (const path of [leaving, join(pathOf(id), 'work')]) await rm(path, { recursive: true, force: true })
  }

  return {
    async mounted(id) {
      if (isMounted(id)) return place(id)
      using _ = await turns.take(id)
      if (!isMounted(id)) await mount(id)
      return place(id)
    },
    async make(id, signal) {
      using _ = await turns.take(id)
      const [tree, image] = [join(pathOf(id), 'fs'), join(pathOf(id), 'layer.erofs')]
      if (lstatSync(tree, { throwIfNoEntry: false }) === undefined) throw notFound(`snapshot directory ${id}`)
      const draft = `${image}.new`
      await rm(draft, { force: true })
      await run('mkfs.erofs', ['--quiet', draft, tree], { signal })
      await rename(draft, image)
    },
    async unmount(id) {
      using _ = await turns.take(id)
      await unmountAll(place(id))
      await rmdir(place(id)).catch((error: unknown) => {
        if (errnoOf(error) !== 'ENOENT') throw error
      })
    },
  }
}
