import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { fileType, lgetxattr, llistxattr, lstatx } from '@flotilla/linux'
import { bytesToString, fromText, toPath } from './tar/bytes.ts'

// For tests: what two trees must have in common to be the same tree.

export interface DescribeOptions {
  /** Times in whole seconds, as a compared layer has them. */
  readonly seconds?: boolean
  /** Times of directories too; a parent's time changes with every name made in it. */
  readonly directoryTimes?: boolean
  /** Only these attributes; all when absent. */
  readonly xattrs?: readonly string[]
  readonly times?: boolean
  /** Leaves out names that are listed but not there: so the kernel shows whiteouts in a directory that only one layer has. */
  readonly merged?: boolean
}

/** Path (one character a byte) → one line with everything about it: type, mode, owner, time, content, attributes. */
export function describeTree(root: string, options: DescribeOptions = {}): Record<string, string> {
  const lines: Record<string, string> = {}
  const firstNames = new Map<bigint, string>()
  const walk = (directory: string) => {
    const names = readdirSync(toPath(`${fromText(root)}/${directory}`), { encoding: 'latin1' }).sort()
    for (const name of names) {
      const path = directory === '' ? name : `${directory}/${name}`
      const full = toPath(`${fromText(root)}/${path}`)
      const stat = lstatx(full)
      if (stat === undefined && options.merged === true) continue
      if (stat === undefined) throw new Error(`${path} went away`)
      const type = stat.mode & fileType.mask
      const parts = [stat.mode.toString(8), `${stat.uid}:${stat.gid}`]
      if (options.times !== false && (type !== fileType.directory || options.directoryTimes === true)) {
        const { seconds, nanos } = stat.mtime
        parts.push(options.seconds === true ? `${seconds}` : `${seconds}.${String(nanos).padStart(9, '0')}`)
      }
      if (type === fileType.symlink) parts.push(`-> ${bytesToString(readlinkSync(full, 'buffer'))}`)
      if (type === fileType.regular) {
        const bytes = readFileSync(full)
        parts.push(`${bytes.length} ${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`)
      }
      if (type === fileType.character || type === fileType.block) parts.push(`${stat.rdevMajor},${stat.rdevMinor}`)
      if (type !== fileType.directory && stat.nlink > 1) {
        const first = firstNames.get(stat.inode)
        if (first === undefined) firstNames.set(stat.inode, path)
        else parts.push(`= ${first}`)
      }
      for (const attribute of llistxattr(full)
        .map((name) => bytesToString(name))
        .sort()) {
        if (options.xattrs !== undefined && !options.xattrs.includes(attribute)) continue
        parts.push(`${attribute}=${lgetxattr(full, toPath(attribute))?.toString('hex')}`)
      }
      lines[path] = parts.join(' ')
      if (type === fileType.directory) walk(path)
    }
  }
  walk('')
  return lines
}
