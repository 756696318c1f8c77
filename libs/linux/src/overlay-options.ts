import { closeSync, constants, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { O_PATH } from './at-flags.ts'

/**
 * Bytes that a mount call's data may have: the kernel copies one page, and 512 bytes stay for the rest of the call, the
 * same margin that containerd's clients keep.
 */
export const dataLimit = 4096 - 512

/** The lower directories of overlay options, nearest first. A colon inside a path is written `\:` there. */
export function lowerDirectories(options: readonly string[]): string[] {
  const lower = options.find((option) => option.startsWith('lowerdir='))
  if (lower === undefined) return []
  const names = lower.slice('lowerdir='.length).match(/(?:\\.|[^:\\])+/g) ?? []
  return names.map((name) => name.replace(/\\(.)/g, '$1'))
}

/** The value of an option `NAME=VALUE`; undefined when it is absent or empty. */
export function optionValue(options: readonly string[], name: string): string | undefined {
  const option = options.findLast((entry) => entry.startsWith(`${name}=`))
  return option === undefined || option.length === name.length + 1 ? undefined : option.slice(name.length + 1)
}

/** `lowerdir=` for these directories. */
export function lowerOption(directories: readonly string[]): string {
  return `lowerdir=${directories.map((name) => name.replace(/[:\\]/g, '\\$&')).join(':')}`
}

/** Options with shorter names for the lower directories, good as long as `close` has not been called. */
export interface ShortOptions extends Disposable {
  readonly data: string
}

/**
 * Overlay options that name the lower directories through a handle of the directory they have in common:
 * `/proc/self/fd/9/12/fs` instead of a long absolute path. A relative path would be shorter, but needs another working
 * directory, which threads share.
 */
export function shortenLowers(options: readonly string[]): ShortOptions {
  const lowers = lowerDirectories(options)
  const common = commonDirectory(lowers)
  if (common === '/') return { data: options.join(','), [Symbol.dispose]() {} }
  const fd = openSync(common, O_PATH | constants.O_DIRECTORY)
  const short = lowers.map((lower) => `/proc/self/fd/${fd}${lower.slice(common.length)}`)
  const data = options.map((option) => (option.startsWith('lowerdir=') ? lowerOption(short) : option)).join(',')
  return { data, [Symbol.dispose]: () => closeSync(fd) }
}

function commonDirectory(paths: readonly string[]): string {
  let common = paths[0] === undefined ? '/' : dirname(paths[0])
  for (const path of paths) {
    while (common !== '/' && !path.startsWith(`${common}/`)) common = dirname(common)
  }
  return common.startsWith('/') ? common : '/'
}
