import type { LayerEntry } from './layer.ts'

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface TreeOptions {
  /** Entries below the root; 60 unless given. */
  readonly entries?: number
  /** Character and block devices too, which only root can make. */
  readonly devices?: boolean
}

/**
 * The entries of a tree, the same for the same seed: directories, files of sizes from nothing to 70 KiB, symbolic and
 * hard links, FIFOs, devices, odd and long names, owners, modes, times to the nanosecond, extended attributes. Parents
 * come before children and link targets before links, so that any correct reader can unpack it.
 */
export function generateTree(seed: number, options: TreeOptions = {}): LayerEntry[] {
  const random = seeded(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const directories = ['']
  const files: string[] = []
  const used = new Set<string>()
  const entries: LayerEntry[] = []

  const newPath = () => {
    for (;;) {
      const path = `${directories[below(directories.length)] ?? ''}${oddName(below)}`
      if (used.has(path) || path.length > 900) continue
      used.add(path)
      return path
    }
  }
  const attributes = () => {
    const nanoseconds = String(below(1e9)).padStart(9, '0')
    const seconds = 1_600_000_000 + below(1e8)
    const pax: Record<string, string> = { mtime: `${seconds}.${nanoseconds}` }
    if (random() < 0.1) pax['SCHILY.xattr.trusted.seed'] = `value ${below(1000)}`
    return { mtime: new Date(seconds * 1000), uid: below(3) * 1000, gid: below(3) * 1000, pax }
  }

  for (let count = options.entries ?? 60; count > 0; count--) {
    const name = newPath()
    const kind = random()
    if (kind < 0.25) {
      directories.push(`${name}/`)
      entries.push({ name: `${name}/`, type: 'directory', mode: 0o700 + below(0o100), ...attributes() })
    } else if (kind < 0.7 || files.length === 0) {
      files.push(name)
      const mode = 0o600 + below(0o200) + (random() < 0.1 ? 0o4000 : 0)
      entries.push({ name, type: 'file', mode, content: randomBytes(random, below), ...attributes() })
    } else if (kind < 0.82) {
      const linkname = random() < 0.5 ? `../${oddName(below)}` : `/${files[below(files.length)]}`
      entries.push({ name, type: 'symlink', linkname, mode: 0o777, ...attributes() })
    } else if (kind < 0.92) {
      entries.push({ name, type: 'link', linkname: files[below(files.length)] ?? '', ...attributes() })
    } else if (kind < 0.96 || !options.devices) {
      entries.push({ name, type: 'fifo', mode: 0o640, ...attributes() })
    } else {
      const type = random() < 0.5 ? 'character-device' : 'block-device'
      entries.push({ name, type, devmajor: 1 + below(200), devminor: below(256), mode: 0o660, ...attributes() })
    }
  }
  return entries
}

function oddName(below: (limit: number) => number): string {
  const number = below(1_000_000)
  switch (below(12)) {
    case 0:
      return `with space ${number}`
    case 1:
      return `ünïcödé-${number}-日本`
    case 2:
      return `${'long-name-'.repeat(15)}${number}`
    case 3:
      return `.hidden-${number}`
    case 4:
      return `new\nline-${number}`
    case 5:
      return `'"$\\-${number}`
    default:
      return `name-${number}`
  }
}

function randomBytes(random: () => number, below: (limit: number) => number): Buffer {
  const sizes = [0, 1, 511, 512, 513, 4096, 70_000]
  const bytes = Buffer.alloc(sizes[below(sizes.length)] ?? 0)
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random() * 256)
  return bytes
}
