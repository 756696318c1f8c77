import { readdir, readFile, statfs } from 'node:fs/promises'
import { availableParallelism, freemem, hostname, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Load } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { Node } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { fromMillis } from '@flotilla/metadata'
import { goArchitecture } from '@flotilla/oci'

export interface Description {
  readonly name: string
  readonly advertise: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  /** Where blobs and snapshots are. */
  readonly root: string
  /** Where the bundles of tasks are. */
  readonly state: string
  readonly snapshotters: () => Promise<readonly string[]>
  readonly runtimes: () => Promise<readonly string[]>
}

/** Milliseconds that the slow parts of a description stay good. */
const freshFor = 4_000

/** A function that says what the node is and how loaded; cheap to ask often. */
export function describing(about: Description): () => Promise<Node> {
  const startedAt = fromMillis(Date.now())
  const architecture = goArchitecture()
  let measured: { readonly at: number; readonly parts: Partial<Node> } | undefined

  return async () => {
    if (measured === undefined || performance.now() - measured.at > freshFor) {
      const [disk, reserved, snapshotters, runtimes] = await Promise.all([
        statfs(about.root),
        reservedBelow(about.state),
        about.snapshotters(),
        about.runtimes(),
      ])
      const load: Load = {
        ...reserved,
        loadAverage: loadavg()[0] ?? 0,
        usedMemory: totalmem() - freemem(),
        freeDisk: disk.bavail * disk.bsize,
      }
      measured = {
        at: performance.now(),
        parts: {
          capacity: { cpus: availableParallelism(), memory: totalmem(), disk: disk.blocks * disk.bsize },
          load,
          snapshotters: [...snapshotters],
          runtimes: [...runtimes],
        },
      }
    }
    return Node.fromPartial({
      name: about.name,
      labels: {
        'flotilla.io/hostname': hostname(),
        'flotilla.io/os': 'linux',
        'flotilla.io/arch': architecture,
        ...about.labels,
      },
      advertise: about.advertise,
      version: about.version,
      kernel: release(),
      platform: { os: 'linux', architecture },
      startedAt,
      ...measured.parts,
    })
  }
}

interface Spec {
  readonly linux?: {
    readonly resources?: {
      readonly cpu?: { readonly quota?: number; readonly period?: number; readonly shares?: number }
      readonly memory?: { readonly limit?: number; readonly reservation?: number }
    }
  }
}

type Reserved = Pick<Load, 'reservedCpuMillis' | 'reservedMemory' | 'tasks' | 'containers'>

/** What the bundles of a node reserve. A bundle's spec never changes, and one that goes meanwhile reserves nothing. */
async function reservedBelow(state: string): Promise<Reserved> {
  const base = join(state, 'io.containerd.runtime.v2.task')
  const list = (path: string) => readdir(path).catch(() => [] as string[])
  const sum = { reservedCpuMillis: 0, reservedMemory: 0, tasks: 0, containers: 0 }
  for (const namespace of await list(base)) {
    for (const id of await list(join(base, namespace))) {
      if (id.startsWith('.')) continue
      const text = await readFile(join(base, namespace, id, 'config.json'), 'utf8').catch(() => '{}')
      sum.tasks++
      sum.containers++
      const { cpu, memory } = resourcesOf(text)
      if (cpu?.quota !== undefined && cpu.quota > 0)
        sum.reservedCpuMillis += (1_000 * cpu.quota) / (cpu.period || 100_000)
      else if (cpu?.shares !== undefined) sum.reservedCpuMillis += (1_000 * cpu.shares) / 1_024
      sum.reservedMemory += Math.max(0, memory?.reservation || memory?.limit || 0)
    }
  }
  sum.reservedCpuMillis = Math.round(sum.reservedCpuMillis)
  return sum
}

function resourcesOf(text: string): NonNullable<NonNullable<Spec['linux']>['resources']> {
  try {
    return (JSON.parse(text) as Spec | null)?.linux?.resources ?? {}
  } catch {
    // The runtime said so to whoever made the task.
    return {}
  }
}
