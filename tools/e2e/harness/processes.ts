import { readdirSync, readFileSync } from 'node:fs'

/** The direct children of a process, as pairs of program (at most 15 letters, as the kernel has it) and pid. */
export function childrenOf(parent: number): Array<readonly [string, number]> {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return []
    try {
      const match = /^(\d+) \((.*)\) \S (\d+) /.exec(readFileSync(`/proc/${entry}/stat`, 'utf8'))
      return match !== null && Number(match[3]) === parent ? [[match[2] ?? '', Number(entry)] as const] : []
    } catch {
      // It has ended meanwhile.
      return []
    }
  })
}
