import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type MountInfo, mountInfo } from './mount-info.ts'

/**
 * Sets what the kernel adds to this process's score when it looks for something to kill; see proc(5), oom_score_adj. To
 * lower it needs CAP_SYS_RESOURCE.
 */
export function setOomScore(score: number): void {
  write('/proc/self/oom_score_adj', String(score))
}

/** An error of a write names no file by itself. */
function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (error) {
    throw new Error(`${file} does not take ${text}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/**
 * Moves this process, with all of its threads, into a control group of every hierarchy that has controllers: those of
 * cgroup v1, or where there are none the one of v2. The group is made where it is not there, and stays.
 *
 * @param path of the group, from the root of the hierarchy
 */
export function joinControlGroup(path: string): void {
  for (const hierarchy of hierarchies(mountInfo())) {
    const group = join(hierarchy, path)
    mkdirSync(group, { recursive: true })
    inheritCpus(hierarchy, path)
    write(join(group, 'cgroup.procs'), '0')
  }
}

/** Where hierarchies with controllers are mounted; init's own, which has a name instead, is left to init. */
function hierarchies(mounts: readonly MountInfo[]): string[] {
  const first = mounts.filter(({ superOptions, type }) => type === 'cgroup' && !superOptions.some(isName))
  const chosen = first.length > 0 ? first : mounts.filter(({ type }) => type === 'cgroup2')
  return [...new Map(chosen.map(({ superOptions, target }) => [superOptions.join(), target])).values()]
}

const isName = (option: string) => option.startsWith('name=')

/** A new group of cgroup v1 has no processor and no memory node until it is given some, and takes no process. */
function inheritCpus(hierarchy: string, path: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    let directory = hierarchy
    for (const name of path.split('/').filter(Boolean)) {
      const given = read(join(directory, file))
      directory = join(directory, name)
      if (given !== undefined && read(join(directory, file)) === '') write(join(directory, file), given)
    }
  }
}

/** Undefined where the hierarchy does not have the file. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
