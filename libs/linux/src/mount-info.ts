import { readFileSync } from 'node:fs'

/** One line of /proc/self/mountinfo. */
export interface MountInfo {
  readonly id: number
  readonly parentId: number
  /** `MAJOR:MINOR` of the file system. */
  readonly device: string
  /** The directory of the file system that is mounted. */
  readonly root: string
  readonly target: string
  /** Options of this mount. */
  readonly options: readonly string[]
  /** Optional fields such as `shared:1`. */
  readonly propagation: readonly string[]
  readonly type: string
  readonly source: string
  /** Options of the file system. */
  readonly superOptions: readonly string[]
}

/** The mounts of this process's mount namespace, in the order they were made. */
export function mountInfo(): MountInfo[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
}

/** The mounts at and below a directory, a path without symlinks, in the order they were made. */
export function mountsBelow(root: string): MountInfo[] {
  const text = readFileSync('/proc/self/mountinfo', 'utf8')
  // Nearly always there are few or none, and taking all lines apart costs most. Names with spaces are written otherwise.
  const lines = /[\s\\]/.test(root) ? text : linesWith(text, ` ${root}`)
  return parseMountInfo(lines).filter(({ target }) => target === root || target.startsWith(`${root}/`))
}

function linesWith(text: string, part: string): string {
  return text.includes(part)
    ? text
        .split('\n')
        .filter((line) => line.includes(part))
        .join('\n')
    : ''
}

/** Parses the text of a mountinfo file (proc(5)). */
export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const separator = fields.indexOf('-', 6)
    if (separator < 0) continue
    const [id = '', parentId = '', device = '', root = '', target = '', options = ''] = fields
    const [type = '', source = '', superOptions = ''] = fields.slice(separator + 1)
    mounts.push({
      id: Number(id),
      parentId: Number(parentId),
      device,
      root: unescapeOctal(root),
      target: unescapeOctal(target),
      options: options.split(','),
      propagation: fields.slice(6, separator),
      type,
      source: unescapeOctal(source),
      superOptions: unescapeOctal(superOptions).split(','),
    })
  }
  return mounts
}

// Space, tab, newline and backslash are written as three octal digits.
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
