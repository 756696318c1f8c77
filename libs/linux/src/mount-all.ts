import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf, LinuxError } from './errno.ts'
import { attachLoop } from './loop.ts'
import { mountAsync, umountAsync } from './mount.ts'
import { MNT_DETACH, mountFlags, perMountFlags, propagationFlags } from './mount-flags.ts'
import { mountsBelow } from './mount-info.ts'
import { parseMountOptions } from './mount-options.ts'
import { mountOverlay } from './overlay-mount.ts'

/** A mount as containerd's API describes it (`containerd.types.Mount`). */
export interface Mount {
  readonly type: string
  readonly source: string
  /** Directory below the target that this mount goes to; usually ''. */
  readonly target: string
  readonly options: readonly string[]
}

/**
 * Mounts all on `target`, in order. When one fails, those before it are unmounted again and the error is thrown.
 * ENOTSUP for types and options that only containerd's mount manager knows.
 */
export async function mountAll(mounts: readonly Mount[], target: string): Promise<void> {
  const done: string[] = []
  try {
    for (const one of mounts) {
      const place = placeOf(one, target)
      await mountOne(one, place)
      done.push(place)
    }
  } catch (error) {
    for (const place of done.reverse()) await unmount(place)
    throw error
  }
}

function placeOf(mount: Mount, target: string): string {
  if (mount.target === '') return target
  const root = realpathSync(target)
  const place = realpathSync(join(root, mount.target))
  if (place !== root && !place.startsWith(`${root}/`)) {
    throw new LinuxError('EINVAL', 'mount', mount.target, 'mount target leaves its root')
  }
  return place
}

async function mountOne({ type, source, options }: Mount, target: string): Promise<void> {
  if (type.includes('/')) throw new LinuxError('ENOTSUP', 'mount', target, `mount type ${type} is not supported here`)
  const parsed = parseMountOptions(options)
  const flags = type === 'bind' || type === 'rbind' ? parsed.flags | mountFlags.bind : parsed.flags
  const first = flags & ~propagationFlags
  const data = parsed.data.join(',')
  if (type === 'overlay') await mountOverlay(target, first, parsed.data)
  else {
    using device = parsed.loop ? attachLoop(source, (first & mountFlags.rdonly) !== 0) : undefined
    await mountAsync({
      source: device?.path ?? source,
      target,
      type: isBind(flags) ? '' : type,
      flags: first,
      data,
    })
  }
  try {
    if (isBind(flags) && (flags & mountFlags.remount) === 0) await restrictBind(target, flags)
    const propagation = flags & propagationFlags
    if (propagation !== 0) {
      await mountAsync({ source: '', target, type: '', flags: propagation | (flags & mountFlags.rec), data: '' })
    }
  } catch (error) {
    await unmount(target)
    throw error
  }
}

function isBind(flags: number): boolean {
  return (flags & mountFlags.bind) !== 0
}

// The kernel ignores ro, nosuid and the like on the call that makes a bind mount.
async function restrictBind(target: string, flags: number): Promise<void> {
  const own = flags & perMountFlags
  if (own === 0) return
  await mountAsync({ source: '', target, type: '', flags: own | mountFlags.bind | mountFlags.remount, data: '' })
}

/**
 * Unmounts everything at and below `target`, deepest and newest first. What is busy is tried again for half a second,
 * then detached. No error when nothing is mounted or the target does not exist.
 */
export async function unmountAll(target: string): Promise<void> {
  let root: string
  try {
    root = realpathSync(target)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  for (const mount of mountsBelow(root).reverse()) await unmount(mount.target)
}

const busyTries = 10
const busyPause = 50 // ms

async function unmount(target: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await umountAsync(target, tries > busyTries ? MNT_DETACH : 0)
      return
    } catch (error) {
      const code = errnoOf(error)
      // EINVAL: not a mount (any more).
      if (code === 'EINVAL' || code === 'ENOENT') return
      if (code !== 'EBUSY' || tries > busyTries) throw error
      await sleep(busyPause)
    }
  }
}
