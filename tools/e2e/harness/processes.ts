import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

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

/** What the descriptors of a process stand for. Those of a process that has ended, or is not ours to look at, are none. */
export function descriptorsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`
  const open = ifThere(() => readdirSync(directory)) ?? []
  return open.flatMap((descriptor) => ifThere(() => readlinkSync(`${directory}/${descriptor}`)) ?? [])
}

/** Processes and descriptors come and go while one looks; some are not ours to look at. */
export function ifThere<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EACCES'].includes(String(error.code)))
      return undefined
    throw error
  }
}
