import { bind, check, checkAsync, cPath, type Path } from './libc.ts'
import { UMOUNT_NOFOLLOW } from './mount-flags.ts'

const mountPrototype =
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)'
const mountNative = bind(mountPrototype)
const umountNative = bind('int umount2(const char *target, int flags)')

export interface MountCall {
  readonly source: Path
  readonly target: Path
  /** File system type; '' for binds and remounts. */
  readonly type: string
  /** Sum of `mountFlags`. */
  readonly flags: number
  /** Options of the file system, joined by commas; the kernel takes at most one page. */
  readonly data: string
}

/** mount(2). */
export function mount(call: MountCall): void {
  const { source, target, type, flags, data } = call
  check(mountNative(cPath(source), cPath(target), cPath(type), flags, cPath(data)), `mount ${type || 'bind'}`, target)
}

/** {@link mount} on another thread, for file systems whose mounting reads a device. */
export async function mountAsync(call: MountCall): Promise<void> {
  const { source, target, type, flags, data } = call
  const args = [cPath(source), cPath(target), cPath(type), flags, cPath(data)]
  await checkAsync(mountNative, args, `mount ${type || 'bind'}`, target)
}

/** umount2(2); a final symlink is never followed. May block until the file system is written back. */
export function umount(target: Path, flags = 0): void {
  check(umountNative(cPath(target), flags | UMOUNT_NOFOLLOW), 'umount', target)
}

/** {@link umount} on another thread. */
export async function umountAsync(target: Path, flags = 0): Promise<void> {
  await checkAsync(umountNative, [cPath(target), flags | UMOUNT_NOFOLLOW], 'umount', target)
}
