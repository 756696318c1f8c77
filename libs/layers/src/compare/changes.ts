import { type FileStat, fileType } from '@flotilla/linux'
import type { ByteString } from '../tar/bytes.ts'
import { isSame } from './same.ts'
import { isDirectory, type TreeSide, typeOf } from './tree-side.ts'

/** What became of one path. Unchanged paths are told only for files with several names. */
export type Change =
  /** Nothing to tell of this path: lets whoever walks a large unchanged tree stop in between. */
  | { readonly kind: 'visited' }
  | { readonly kind: 'removed'; readonly path: ByteString }
  | { readonly kind: 'written' | 'unchanged'; readonly path: ByteString; readonly stat: FileStat }

/** How the upper tree is to be read. */
export type UpperForm =
  /** It is the whole tree. */
  | 'whole'
  /** It is an overlay's upper directory over exactly the lower tree: it holds changes and whiteouts. */
  | 'overlay'
  /** The same of an overlay mounted with `userxattr`: its state is in `user.` instead of `trusted.` attributes. */
  | 'overlay-userxattr'

export interface Comparison {
  readonly lower: TreeSide
  readonly upper: TreeSide
  readonly form: UpperForm
}

/**
 * The changes that lead from the lower to the upper tree, ordered by path with `/` before every other byte. A removed
 * tree is reported by its top; a directory that something else takes the place of is not reported as removed.
 */
export function* changes(comparison: Comparison): Generator<Change> {
  yield* compareDirectory(comparison, '', true, isWhole(comparison, ''))
}

/** `whole`: names that the upper directory lacks are removed, not unchanged. */
function* compareDirectory(
  comparison: Comparison,
  directory: ByteString,
  hasLower: boolean,
  whole: boolean,
): Generator<Change> {
  const { lower, upper, form } = comparison
  const upperNames = upper.names(directory)
  const lowerNames = hasLower && whole ? lower.names(directory) : []
  for (const name of merged(lowerNames, upperNames)) {
    const path = directory === '' ? name : `${directory}/${name}`
    const found = upper.stat(path)
    const hidden = found !== undefined && form !== 'whole' && isWhiteout(found)
    const below = hasLower ? lower.stat(path) : undefined
    if (found === undefined || hidden) {
      if (below !== undefined) yield { kind: 'removed', path }
      continue
    }
    const same = below !== undefined && isSame({ side: lower, path, stat: below }, { side: upper, path, stat: found })
    if (!same) yield { kind: 'written', path, stat: found }
    else if (found.nlink > 1 && !isDirectory(found)) yield { kind: 'unchanged', path, stat: found }
    else yield { kind: 'visited' }
    if (!isDirectory(found)) continue
    const lowerIsDirectory = below !== undefined && isDirectory(below)
    // One directory seen through two bind mounts has nothing to tell.
    if (lowerIsDirectory && below.inode === found.inode && below.device === found.device) continue
    yield* compareDirectory(comparison, path, lowerIsDirectory, isWhole(comparison, path))
  }
}

function* merged(left: readonly ByteString[], right: readonly ByteString[]): Generator<ByteString> {
  let other = 0
  for (const name of left) {
    for (let next = right[other]; next !== undefined && next < name; next = right[++other]) yield next
    if (right[other] === name) other++
    yield name
  }
  yield* right.slice(other)
}

function isWhiteout(stat: FileStat): boolean {
  return typeOf(stat) === fileType.character && stat.rdevMajor === 0 && stat.rdevMinor === 0
}

/** Whether a directory of the upper tree is all that can be seen there. */
function isWhole({ upper, form }: Comparison, path: ByteString): boolean {
  return form === 'whole' || overlayXattr(upper, form, path, 'opaque')?.toString() === 'y'
}

// Only the one kind that the mount uses: in a container anybody may set the other on his own directories.
function overlayXattr(upper: TreeSide, form: UpperForm, path: ByteString, name: string): Buffer | undefined {
  return upper.xattr(path, `${form === 'overlay-userxattr' ? 'user' : 'trusted'}.overlay.${name}`)
}

/**
 * Whether an upper directory can be read by itself. Features of overlayfs that are off by default (renamed directories,
 * files that hold only metadata, whiteouts as attributes) leave parts elsewhere; then the overlay has to be mounted and
 * compared as a whole.
 */
export function isSelfContained(upper: TreeSide, form: UpperForm, directory: ByteString = ''): boolean {
  for (const { name, isDirectory } of upper.entries(directory)) {
    const path = directory === '' ? name : `${directory}/${name}`
    for (const feature of ['redirect', 'metacopy', 'whiteout', 'opaque']) {
      const value = overlayXattr(upper, form, path, feature)
      if (value !== undefined && !(feature === 'opaque' && value.toString() === 'y')) return false
    }
    if (isDirectory && !isSelfContained(upper, form, path)) return false
  }
  return true
}
