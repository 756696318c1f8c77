import { setTimeout as sleep } from 'node:timers/promises'
import type { Metric } from '@flotilla/api/containerd/types/types'
import { type Client, dateOf } from '@flotilla/client'
import { type Command, flag, number, text } from '../command.ts'
import { fieldOf } from '../field.ts'
import { print, printList, size } from '../print.ts'
import { listContainers } from './ps.ts'

/** What a container used until a moment. */
interface Usage {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Nanoseconds of processors. */
  readonly cpu: number
  /** Bytes. */
  readonly memory: number
  readonly processes: number
}

// Field numbers of io.containerd.cgroups.v1.Metrics and v2.Metrics.
const fields = {
  v1: { cpu: [3, 1, 1], nanoseconds: 1, memory: [4, 33, 2], processes: [2, 1] },
  v2: { cpu: [2, 1], nanoseconds: 1_000, memory: [4, 32], processes: [1, 1] },
} as const

export function usageOf({ timestamp, data }: Metric): Usage {
  const bytes = data?.value ?? new Uint8Array()
  const { cpu, nanoseconds, memory, processes } = fields[data?.typeUrl.includes('cgroups.v2') ? 'v2' : 'v1']
  return {
    at: dateOf(timestamp).getTime(),
    cpu: fieldOf(bytes, cpu) * nanoseconds,
    memory: fieldOf(bytes, memory),
    processes: fieldOf(bytes, processes),
  }
}

async function measure(client: Client): Promise<Map<string, Usage>> {
  const { metrics } = await client.tasks.metrics({ filters: [] })
  return new Map(metrics.map((metric) => [metric.id, usageOf(metric)]))
}

export const top: Command = {
  name: 'top',
  summary: 'Show what running containers use, on all nodes, the busiest first',
  options: {
    node: { type: 'string', value: 'NAME', text: 'only those on this node', completes: 'nodes' },
    interval: { type: 'string', value: 'SECONDS', text: 'between two looks; 2 unless given' },
    once: { type: 'boolean', text: 'look once and end; so it is too when our output is no terminal' },
  },
  async run({ client, values, json, signal }) {
    const pause = (number(values, 'interval') ?? 2) * 1_000
    const once = flag(values, 'once') || json || !process.stdout.isTTY
    const node = text(values, 'node')
    let before = await measure(client)
    for (;;) {
      try {
        await sleep(once ? Math.min(pause, 1_000) : pause, undefined, { signal })
      } catch {
        return 0
      }
      const [now, containers] = await Promise.all([measure(client), listContainers(client)])
      const rows = containers.flatMap((container) => {
        const [used, earlier] = [now.get(container.id), before.get(container.id)]
        if (used === undefined || (node !== undefined && container.node !== node)) return []
        const passed = (used.at - (earlier?.at ?? used.at)) * 1e6
        const cpuPercent = earlier === undefined || passed <= 0 ? 0 : (100 * (used.cpu - earlier.cpu)) / passed
        const { memory, processes } = used
        return [{ id: container.id, node: container.node, cpuPercent, memory, processes, image: container.image }]
      })
      rows.sort((a, b) => b.cpuPercent - a.cpuPercent || b.memory - a.memory)
      if (!once) process.stdout.write('\x1b[H\x1b[2J')
      printList(rows, json, ['CONTAINER', 'NODE', 'CPU %', 'MEMORY', 'PROCESSES', 'IMAGE'], (row) => [
        row.id,
        row.node,
        row.cpuPercent.toFixed(1),
        size(row.memory),
        String(row.processes),
        row.image,
      ])
      if (once) return 0
      print('')
      before = now
    }
  },
}
