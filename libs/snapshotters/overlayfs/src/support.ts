import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, statfs, writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { mountAll, unmountAll } from '@flotilla/linux'

export interface OverlaySupport {
  readonly capabilities: readonly string[]
  /** Whether layers can be mounted with ids mapped. */
  readonly idMaps: boolean
  /** What every overlay mount needs here. */
  readonly mountOptions: readonly string[]
}

/** Linux's magic number of tmpfs, statfs(2). */
const tmpfs = 0x01021994

/** Finds out what overlay can do in a directory. Rejects with the reason when it cannot be used there. */
export async function overlaySupport(root: string): Promise<OverlaySupport> {
  // Both separate options of a mount from each other, and not every client knows how to escape them.
  if (/[:,\\]/.test(root)) throw new Error(`overlayfs: root ${root} has a colon, a comma or a backslash`)
  const confined = inUserNamespace()
  const userXattr = confined && kernelAtLeast(5, 11) && (await statfs(root)).type !== tmpfs
  // An index would tie a layer to one upper directory for ever; layers are shared.
  const index = existsSync('/sys/module/overlay/parameters/index')
  const mountOptions = [...(userXattr ? ['userxattr'] : []), ...(index ? ['index=off'] : [])]
  await tryOverlay(root, mountOptions)
  const idMaps = !confined && kernelAtLeast(5, 19)
  return {
    idMaps,
    mountOptions,
    capabilities: [...(idMaps ? ['remap-ids'] : []), 'only-remap-ids', ...(confined ? [] : ['rebase'])],
  }
}

/** Whether this process's user ids are not those of the machine. */
function inUserNamespace(): boolean {
  return readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).join(' ') !== '0 0 4294967295'
}

export function kernelAtLeast(major: number, minor: number, version = release()): boolean {
  const [first = 0, second = 0] = version.split(/[.-]/, 2).map(Number)
  return first > major || (first === major && second >= minor)
}

/**
 * Mounts an overlay and removes a file in it. On a file system that does not say in directories what kind a file is
 * (XFS without ftype), the kernel mounts, but shows the mark that stands for the removed file.
 */
async function tryOverlay(root: string, mountOptions: readonly string[]): Promise<void> {
  const place = await mkdtemp(join(root, 'check-'))
  const directory = (name: string) => join(place, name)
  const merged = directory('merged')
  try {
    for (const name of ['lower', 'upper', 'work', 'merged']) await mkdir(directory(name))
    await writeFile(join(directory('lower'), 'file'), '')
    const layers = [`workdir=${directory('work')}`, `upperdir=${directory('upper')}`, `lowerdir=${directory('lower')}`]
    const options = [...layers, ...mountOptions]
    await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], merged)
    await rm(join(merged, 'file'))
    if ((await readdir(merged)).length > 0) throw new Error('overlayfs needs a file system with d_type (XFS: ftype=1)')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`overlayfs cannot be used at ${root}: ${reason}`, { cause: error })
  } finally {
    await unmountAll(merged)
    await rm(place, { recursive: true, force: true })
  }
}
