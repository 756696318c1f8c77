import type { ActiveMount } from '@flotilla/api/containerd/types/types'
import { invalidArgument } from '@flotilla/rpc'

const call = /\{\{-?\s*(\w+)((?:\s+-?\d+)*)\s*-?\}\}/g

/**
 * Fills a template of a mount: `{{ source N }}`, `{{ target N }}` and `{{ mount N }}` (the mount point) of the Nth mount
 * before it, `{{ overlay FROM TO }}` the mount points of several, joined by colons.
 *
 * @throws INVALID_ARGUMENT for another call and for an index that is out of bounds
 */
export function filled(text: string, active: readonly ActiveMount[]): string {
  const at = (index: number) => {
    const mount = active[index]
    if (!mount) throw invalidArgument(`index out of bounds: ${index}, has ${active.length} active mounts`)
    return mount
  }
  const result = text.replace(call, (_, name: string, given: string) => {
    const [first = Number.NaN, second = Number.NaN, ...rest] = given.trim().split(/\s+/).filter(Boolean).map(Number)
    const one = Number.isNaN(second) && !Number.isNaN(first)
    if (name === 'source' && one) return at(first).mount?.source ?? ''
    if (name === 'target' && one) return at(first).mount?.target ?? ''
    if (name === 'mount' && one) return at(first).mountPoint
    if (name === 'overlay' && !Number.isNaN(second) && rest.length === 0) {
      const step = first > second ? -1 : 1
      const count = Math.abs(second - first) + 1
      if (count > active.length)
        throw invalidArgument(`invalid range: ${first}-${second}, has ${active.length} active mounts`)
      return Array.from({ length: count }, (_, index) => at(first + step * index).mountPoint).join(':')
    }
    throw invalidArgument(`mount template ${JSON.stringify(text)}: there is no such call of "${name}"`)
  })
  if (result.includes('{{')) throw invalidArgument(`mount template ${JSON.stringify(text)} cannot be read`)
  return result
}
