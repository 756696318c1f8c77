import { execFile } from 'node:child_process'
import { mkdir, readdir, readlink, rmdir, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { errnoOf, mountAll, unmountAll } from '@flotilla/linux'

const run = promisify(execFile)

/** Mount types that the kernel does not know and we do. */
export const handledTypes: readonly string[] = ['loop']

/** Makes a mount at a path that is not there yet. A loop device's mount point is a link to the device. */
export async function mountAt(mount: Mount, place: string): Promise<void> {
  if (mount.type === 'loop') {
    const readonly = mount.options.includes('ro') ? ['--read-only'] : []
    const { stdout } = await run('losetup', ['--find', '--show', ...readonly, mount.source])
    await symlink(stdout.trim(), place).catch(async (error: unknown) => {
      await run('losetup', ['--detach', stdout.trim()])
      throw error
    })
    return
  }
  await mkdir(place, { mode: 0o700 })
  await mountAll([mount], place)
}

/** Undoes all mounts in a directory, last first, and removes it. No error when it is not there. */
export async function clear(directory: string): Promise<void> {
  let names: string[]
  try {
    names = await readdir(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  for (const name of names.sort((a, b) => Number(b) - Number(a))) {
    const place = join(directory, name)
    const device = await readlink(place).catch(() => undefined)
    if (device === undefined) {
      await unmountAll(place)
      // Never recursive: if something is still mounted here, its files must not be touched.
      await rmdir(place)
    } else {
      await run('losetup', ['--detach', device]).catch((error: unknown) => {
        // After a reboot there is no such device.
        if (!String((error as { stderr?: string }).stderr).includes('No such')) throw error
      })
      await unlink(place)
    }
  }
  await rmdir(directory)
}
