import { mkdir, mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Mount, mountAll, unmountAll } from './mount-all.ts'
import { lowerDirectories, lowerOption, optionValue } from './overlay-options.ts'

export interface TempMountOptions {
  /** Nothing may be written through the mount: `rw` becomes `ro`, an overlay's upper directory its first lower one. */
  readonly readonly?: boolean
  /** Where the temporary directory is made; the system's place when absent. */
  readonly tmpDir?: string
}

/**
 * Runs `use` with a directory where the mounts are mounted, and unmounts them afterwards whatever happens. No mounts:
 * an empty directory. Option `volatile` is dropped: what is written must be on disk after the unmount.
 */
export async function withTempMount<T>(
  mounts: readonly Mount[],
  options: TempMountOptions,
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const place = await mkdtemp(join(options.tmpDir ?? tmpdir(), 'flotilla-mount-'))
  const [root, empty] = [join(place, 'root'), join(place, 'empty')]
  try {
    await mkdir(root)
    await mkdir(empty)
    await mountAll(
      mounts.map((mount) => adapt(mount, options.readonly === true, empty)),
      root,
    )
    return await use(root)
  } finally {
    await unmountAll(root)
    // Never recursive: if something is still mounted here, its files must not be touched.
    await rmdir(root).catch(() => {})
    await rmdir(empty).catch(() => {})
    await rmdir(place).catch(() => {})
  }
}

function adapt(mount: Mount, readonly: boolean, empty: string): Mount {
  const options = mount.options.filter((option) => option !== 'volatile')
  if (mount.type !== 'overlay') return { ...mount, options: readonly ? readonlyOptions(options) : options }
  const upper = optionValue(options, 'upperdir')
  const lowers = lowerDirectories(options)
  if (!readonly) {
    // The kernel wants a lower directory; layers unpacked in parallel have none.
    return lowers.length > 0 ? { ...mount, options } : { ...mount, options: [...options, lowerOption([empty])] }
  }
  const others = options.filter((option) => !/^(upperdir|workdir|lowerdir)=/.test(option))
  const all = upper === undefined ? lowers : [unescapeUpper(upper), ...lowers]
  // Without an upper directory the kernel wants two lower ones.
  const enough = all.length > 1 ? all : [...all, empty]
  return { ...mount, options: [...readonlyOptions(others), lowerOption(enough)] }
}

function readonlyOptions(options: readonly string[]): string[] {
  const kept = options.filter((option) => option !== 'rw' && option !== 'ro')
  return [...kept, 'ro']
}

// In upperdir= a comma is written `\,` for the kernel, a colon needs nothing.
function unescapeUpper(path: string): string {
  return path.replace(/\\(.)/g, '$1')
}
