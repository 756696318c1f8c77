import type { LayerEntry } from './layer.ts'
import { seeded } from './tree.ts'

const names = ['a', 'b', 'c', 'd']

/**
 * Layers that write, replace, remove and empty the same few paths, mostly without saying what the directories are that
 * their members lie in; the same for the same seed. Some say things that contradict each other.
 */
export function generateStack(seed: number): LayerEntry[][] {
  const random = seeded(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const pathOf = () => Array.from({ length: 1 + below(4) }, () => names[below(names.length)]).join('/')
  const member = (): LayerEntry => {
    const path = pathOf()
    const parent = path.slice(0, path.lastIndexOf('/') + 1)
    const owner = { uid: below(3) * 1000, gid: below(3) * 1000, mtime: new Date((1_500_000_000 + below(1e8)) * 1000) }
    const kind = random()
    if (kind < 0.35) return { name: path, content: `${seed} ${below(1e6)}`, mode: 0o600 + below(0o200), ...owner }
    if (kind < 0.6) {
      const pax: Record<string, string> = random() < 0.3 ? { 'SCHILY.xattr.user.seed': `${below(100)}` } : {}
      return { name: `${path}/`, type: 'directory', mode: 0o700 + below(0o100), pax, ...owner }
    }
    if (kind < 0.7) return { name: path, type: 'symlink', linkname: pathOf(), mode: 0o777, ...owner }
    if (kind < 0.9) return { name: `${parent}.wh.${path.slice(parent.length)}`, content: '', mode: 0 }
    return { name: `${path}/.wh..wh..opq`, content: '', mode: 0 }
  }
  return Array.from({ length: 2 + below(4) }, () => Array.from({ length: 1 + below(8) }, member))
}
