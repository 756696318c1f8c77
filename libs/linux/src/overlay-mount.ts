import { closeSync } from 'node:fs'
import { AT_FDCWD } from './at-flags.ts'
import { LinuxError } from './errno.ts'
import { bind, check, cPath } from './libc.ts'
import { mountAsync } from './mount.ts'
import { dataLimit, lowerDirectories, shortenLowers } from './overlay-options.ts'

/**
 * Mounts an overlay whatever the length of its options: as they are, else with shortened lower directories, else (kernel
 * 6.5 and later) handing the kernel one lower directory at a time. E2BIG when none of these fits.
 */
export async function mountOverlay(target: string, flags: number, options: readonly string[]): Promise<void> {
  const data = options.join(',')
  if (Buffer.byteLength(data) <= dataLimit) {
    await mountAsync({ source: 'overlay', target, type: 'overlay', flags, data })
    return
  }
  using short = shortenLowers(options)
  if (Buffer.byteLength(short.data) <= dataLimit) {
    await mountAsync({ source: 'overlay', target, type: 'overlay', flags, data: short.data })
    return
  }
  mountByParts(target, flags, options)
}

// linux/mount.h
const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const MOVE_MOUNT_F_EMPTY_PATH = 4
const CLOSE_ON_EXEC = 1
/** Mount attributes have the bits of the same name of the flags: ro, nosuid, nodev, noexec. */
const attributeMask = 0xf

// Bound on use: C libraries older than these calls can still load this file.
function bindMountCalls() {
  return {
    fsopen: bind('int fsopen(const char *type, unsigned int flags)'),
    fsconfig: bind('int fsconfig(int fd, unsigned int command, const char *key, const char *value, int aux)'),
    fsmount: bind('int fsmount(int fd, unsigned int flags, unsigned int attributes)'),
    moveMount: bind('int move_mount(int from, const char *fromPath, int to, const char *toPath, unsigned int flags)'),
  }
}

function mountByParts(target: string, flags: number, options: readonly string[]): void {
  const syscall = bindMountCalls()
  const context = check(syscall.fsopen('overlay', CLOSE_ON_EXEC), 'fsopen overlay')
  try {
    const set = (key: string, value: string) =>
      check(syscall.fsconfig(context, FSCONFIG_SET_STRING, cPath(key), cPath(value), 0), `overlay option ${key}`, value)
    set('source', 'overlay')
    for (const option of options) {
      if (option.startsWith('lowerdir=')) continue
      const equals = option.indexOf('=')
      if (equals > 0) set(option.slice(0, equals), option.slice(equals + 1))
      else check(syscall.fsconfig(context, FSCONFIG_SET_FLAG, cPath(option), null, 0), 'overlay option', option)
    }
    // A string handed over this way has at most 255 bytes, so long directories go by a handle here too.
    using short = shortenLowers(options)
    for (const lower of lowerDirectories(short.data.split(','))) set('lowerdir+', lower)
    check(syscall.fsconfig(context, FSCONFIG_CMD_CREATE, null, null, 0), 'mount overlay', target)
    const mounted = check(syscall.fsmount(context, CLOSE_ON_EXEC, flags & attributeMask), 'fsmount', target)
    try {
      check(syscall.moveMount(mounted, '', AT_FDCWD, cPath(target), MOVE_MOUNT_F_EMPTY_PATH), 'move_mount', target)
    } finally {
      closeSync(mounted)
    }
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error
    throw new LinuxError(error.code, error.syscall, error.path, `${error.message}; the options need more than a page`)
  } finally {
    closeSync(context)
  }
}
