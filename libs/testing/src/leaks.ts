import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

export interface SnapshotOptions {
  /** Texts that mark a thing as ours: directories, namespaces, socket names. A thing that mentions none is ignored. */
  readonly mentions: readonly string[]
}

/** What there is of ours on this machine, one line a thing. */
export interface SystemSnapshot {
  readonly mounts: readonly string[]
  /** Command lines, with pids. */
  readonly processes: readonly string[]
  /** Control groups. */
  readonly cgroups: readonly string[]
  /** Named network namespaces. */
  readonly networks: readonly string[]
  /** Loop devices, with the files behind them. */
  readonly loops: readonly string[]
}

const absent = () => []

async function mounts(ours: (text: string) => boolean): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8')
  return table.split('\n').flatMap((line) => (ours(line) ? [line.split(' ').slice(4).join(' ')] : []))
}

async function processes(ours: (text: string) => boolean): Promise<string[]> {
  const found: string[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim()
    // A shim names its bundle only by where it stands.
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (command !== '' && (ours(command) || ours(cwd))) found.push(`${pid} ${command}`)
  }
  return found
}

async function cgroups(ours: (text: string) => boolean): Promise<string[]> {
  const root = '/sys/fs/cgroup'
  const found: string[] = []
  const walk = async (path: string, depth: number): Promise<void> => {
    const entries = await readdir(path, { withFileTypes: true }).catch(absent)
    for (const entry of entries) {
      if (!entry.isDirectory() || entry.isSymbolicLink()) continue
      const child = join(path, entry.name)
      if (ours(entry.name)) found.push(child)
      if (depth < 4) await walk(child, depth + 1)
    }
  }
  await walk(root, 0)
  return found
}

async function loops(ours: (text: string) => boolean): Promise<string[]> {
  const found: string[] = []
  for (const name of await readdir('/sys/block').catch(absent)) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '')
    if (file !== '' && ours(file)) found.push(`/dev/${name} ${file.trim()}`)
  }
  return found
}

/** Looks at mounts, processes, control groups, network namespaces and loop devices that mention one of the given texts. */
export async function systemSnapshot(options: SnapshotOptions): Promise<SystemSnapshot> {
  const ours = (text: string) => options.mentions.some((mention) => text.includes(mention))
  const networks = (await readdir('/run/netns').catch(absent)).filter(ours)
  return {
    mounts: await mounts(ours),
    processes: await processes(ours),
    cgroups: await cgroups(ours),
    networks,
    loops: await loops(ours),
  }
}

/** What is there now and was not before; empty lists when nothing was left behind. */
export function leftBehind(before: SystemSnapshot, after: SystemSnapshot): SystemSnapshot {
  const fresh = (kind: keyof SystemSnapshot) => after[kind].filter((thing) => !before[kind].includes(thing))
  return {
    mounts: fresh('mounts'),
    processes: fresh('processes'),
    cgroups: fresh('cgroups'),
    networks: fresh('networks'),
    loops: fresh('loops'),
  }
}

/** The snapshot of a machine with nothing of ours on it. */
export const nothing: SystemSnapshot = { mounts: [], processes: [], cgroups: [], networks: [], loops: [] }
