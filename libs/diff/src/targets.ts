import { readFileSync } from 'node:fs'
import type { Mount } from '@flotilla/api/containerd/types/types'
import type { UpperForm } from '@flotilla/layers'
import { lowerDirectories, optionValue } from '@flotilla/linux'

// What can be done with mounts without mounting them.

/** The upper and lower directories of mounts that are one overlay with an upper directory. */
export function writableOverlay(mounts: readonly Mount[]): { upper: string; lowers: string[] } | undefined {
  const [mount, ...others] = mounts
  if (mount === undefined || others.length > 0 || mount.type !== 'overlay') return undefined
  const upper = optionValue(mount.options, 'upperdir')
  return upper === undefined ? undefined : { upper, lowers: lowerDirectories(mount.options) }
}

/** A path on the file system that a write through the mounts reaches; undefined when that is not known. */
export function syncPath(mounts: readonly Mount[]): string | undefined {
  const [mount, ...others] = mounts
  if (mount === undefined || others.length > 0) return undefined
  if (mount.type === 'bind') return mount.source
  return writableOverlay(mounts)?.upper
}

/** The directories that mounts are made of, the topmost first; undefined for other than one bind or overlay. */
function directoriesOf(mounts: readonly Mount[]): string[] | undefined {
  const [mount, ...others] = mounts
  if (mount === undefined || others.length > 0) return undefined
  if (mount.type === 'bind') return [mount.source]
  if (mount.type !== 'overlay') return undefined
  const upper = optionValue(mount.options, 'upperdir')
  return [...(upper === undefined ? [] : [upper]), ...lowerDirectories(mount.options)]
}

/**
 * The one directory that `right` has more than `left`, when both are overlays over otherwise the same directories, as an
 * active snapshot and a view of its parent are. It holds all the differences, so nothing else needs to be read.
 */
export function addedDirectory(
  left: readonly Mount[],
  right: readonly Mount[],
): { upper: string; form: UpperForm } | undefined {
  if (right[0]?.type !== 'overlay') return undefined
  const [below, above] = [directoriesOf(left), directoriesOf(right)]
  if (below === undefined || above === undefined || above.length !== below.length + 1) return undefined
  const [upper, ...rest] = above
  if (upper === undefined || rest.some((directory, index) => directory !== below[index])) return undefined
  return { upper, form: right[0].options.includes('userxattr') ? 'overlay-userxattr' : 'overlay' }
}

/** Whether this process is root of a user namespace only: then it can make no devices and set no trusted attributes. */
export function inUserNamespace(): boolean {
  const map = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)
  return map.join(' ') !== '0 0 4294967295'
}
