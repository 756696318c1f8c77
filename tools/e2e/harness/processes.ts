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

/** The paths of a process's descriptors that match; none once it has ended. */
export function descriptorsOf(pid: number | undefined, path: RegExp): string[] {
  const directory = `/proc/${pid}/fd`
  try {
    return readdirSync(directory)
      .map((descriptor) => readlinkSync(`${directory}/${descriptor}`))
      .filter((target) => path.test(target))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
