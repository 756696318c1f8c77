import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf, mountInfo } from '@flotilla/linux'
import { type Bundle, readBundleFile } from './bundle.ts'
import { runcFolder } from './runc-options.ts'

/** Tries, with a pause in milliseconds, while the last processes of a group end. */
const tries = { count: 10, pause: 50 } as const

/** Files by which runc and crun know a container. */
const records = ['state.json', 'status']

/**
 * Removes what a killed runtime leaves and cannot delete itself. A shim whose connection breaks kills the runc that it
 * runs; one killed early leaves control groups, and a directory without a record, which says that there is no such
 * container and yet refuses to make it again. `state` is our state directory.
 */
export async function removeRuncRests(state: string, bundle: Bundle): Promise<void> {
  await removeControlGroups(bundle)
  const folder = runcFolder(state, bundle)
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (names && !names.some((name) => records.includes(name))) await rm(folder, { recursive: true, force: true })
}

/** Removes the control groups of a bundle's container that hold no process. */
async function removeControlGroups(bundle: Bundle): Promise<void> {
  const path = await controlGroup(bundle)
  if (path === undefined) return
  const hierarchies = mountInfo().filter(({ type }) => type === 'cgroup' || type === 'cgroup2')
  await Promise.all(hierarchies.map(({ target }) => removeEmpty(join(target, path))))
}

/** The group in a bundle's spec; undefined for none and for names that systemd makes of slices. */
async function controlGroup(bundle: Bundle): Promise<string | undefined> {
  const text = await readBundleFile(bundle, 'config.json')
  if (text === undefined) return undefined
  try {
    const path = (JSON.parse(text) as { linux?: { cgroupsPath?: unknown } } | null)?.linux?.cgroupsPath
    return typeof path === 'string' && path !== '' && !path.includes(':') && !path.includes('..') ? path : undefined
  } catch {
    return undefined // No runtime made a group from a spec that cannot be read.
  }
}

async function removeEmpty(path: string): Promise<void> {
  for (let left = tries.count; left > 0; left--) {
    try {
      return await rmdir(path)
    } catch (error) {
      if (errnoOf(error) !== 'EBUSY') return
      await sleep(tries.pause)
    }
  }
}
