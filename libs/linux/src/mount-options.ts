import { LinuxError } from './errno.ts'
import { mountFlags } from './mount-flags.ts'

/** What a list of fstab-style options means to mount(2). */
export interface ParsedOptions {
  readonly flags: number
  /** What is not a flag, in order, for the file system. */
  readonly data: readonly string[]
  /** Whether the source is a file, to be mounted by way of a loop device. */
  readonly loop: boolean
}

// Option → flags it sets; a negative number clears.
const table: Readonly<Record<string, number>> = {
  async: -mountFlags.synchronous,
  atime: -mountFlags.noatime,
  bind: mountFlags.bind,
  defaults: 0,
  dev: -mountFlags.nodev,
  diratime: -mountFlags.nodiratime,
  dirsync: mountFlags.dirsync,
  exec: -mountFlags.noexec,
  mand: mountFlags.mandlock,
  noatime: mountFlags.noatime,
  nodev: mountFlags.nodev,
  nodiratime: mountFlags.nodiratime,
  noexec: mountFlags.noexec,
  nomand: -mountFlags.mandlock,
  norelatime: -mountFlags.relatime,
  nostrictatime: -mountFlags.strictatime,
  nosuid: mountFlags.nosuid,
  private: mountFlags.private,
  rbind: mountFlags.bind | mountFlags.rec,
  relatime: mountFlags.relatime,
  remount: mountFlags.remount,
  ro: mountFlags.rdonly,
  rprivate: mountFlags.private | mountFlags.rec,
  rshared: mountFlags.shared | mountFlags.rec,
  rslave: mountFlags.slave | mountFlags.rec,
  runbindable: mountFlags.unbindable | mountFlags.rec,
  rw: -mountFlags.rdonly,
  shared: mountFlags.shared,
  slave: mountFlags.slave,
  strictatime: mountFlags.strictatime,
  suid: -mountFlags.nosuid,
  sync: mountFlags.synchronous,
  unbindable: mountFlags.unbindable,
}

/**
 * Splits options into flags and file system data; the last of two opposite options wins. Options `X-containerd.*` belong
 * to the client and are dropped. ENOTSUP for those that need more than is done here (`uidmap=`, `gidmap=`): leaving them
 * out would mount something else than was asked for.
 */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
  let flags = 0
  let loop = false
  const data: string[] = []
  for (const option of options) {
    const known = Object.hasOwn(table, option) ? table[option] : undefined
    if (known !== undefined) flags = known < 0 ? flags & ~-known : flags | known
    else if (option.startsWith('X-containerd.') || option === '') continue
    else if (option === 'loop') loop = true
    else if (option.startsWith('uidmap=') || option.startsWith('gidmap=')) {
      throw new LinuxError('ENOTSUP', 'mount', option, 'mount option is not supported here')
    } else data.push(option)
  }
  return { flags, data, loop }
}
