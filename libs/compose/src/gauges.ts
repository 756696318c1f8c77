import { statfs } from 'node:fs/promises'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import type { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { keyOf, tables } from '@flotilla/metadata'
import { addTaskMetrics } from '@flotilla/metrics'
import { makeCall, type ServiceOf } from '@flotilla/rpc'
import type { Host } from './part.ts'

/** Milliseconds that a scrape waits for one namespace. */
const patience = 5_000

const statuses = new Map<number, string>(Object.entries(Status).map(([name, number]) => [number, name.toLowerCase()]))

/** Counts this node's tasks at each scrape. */
export function gaugeTasks(
  { metadata, metrics }: Pick<Host, 'metadata' | 'metrics'>,
  tasks: Pick<ServiceOf<typeof NodeTasksDefinition>, 'list'>,
): void {
  const help = 'Tasks of this node by namespace and status.'
  metrics.gauge('flotilla_tasks', help, ['namespace', 'status'], async () => {
    const counts = new Map<string, { labels: { namespace: string; status: string }; value: number }>()
    for (const namespace of await metadata.namespaceNames()) {
      const answer = await tasks.list({ filter: '' }, makeCall({ namespace, timeout: patience }))
      for (const task of answer.tasks) {
        const status = statuses.get(task.status) ?? 'unknown'
        const key = `${namespace} ${status}`
        counts.set(key, { labels: { namespace, status }, value: (counts.get(key)?.value ?? 0) + 1 })
      }
    }
    return [...counts.values()]
  })
}

/** Counts blobs and ingests by namespace at each scrape, and the room that is left for them. */
export function gaugeContent({ config, metadata, metrics }: Pick<Host, 'config' | 'metadata' | 'metrics'>): void {
  const lengths = async (table: string) => {
    const names = await metadata.namespaceNames()
    const values = await Promise.all(names.map((name) => metadata.redis.hlen(keyOf(name, table))))
    return names.map((namespace, index) => ({ labels: { namespace }, value: values[index] ?? 0 }))
  }
  metrics.gauge('flotilla_content_blobs', 'Blobs by namespace.', ['namespace'], () => lengths(tables.content))
  metrics.gauge('flotilla_content_ingests', 'Blobs being written, by namespace.', ['namespace'], () =>
    lengths(tables.ingests),
  )
  const help = "Bytes free on the file system of this node's blobs."
  metrics.gauge('flotilla_content_free_bytes', help, [], async () => {
    const { bavail, bsize } = await statfs(config.root)
    return [{ value: bavail * bsize }]
  })
}

/** Tells what each task of this node uses, at each scrape, under containerd's names. */
export function gaugeUsage(
  { metadata, metrics }: Pick<Host, 'metadata' | 'metrics'>,
  tasks: Pick<ServiceOf<typeof NodeTasksDefinition>, 'metrics'>,
): void {
  addTaskMetrics(metrics, async () => {
    const answers = (await metadata.namespaceNames()).map(async (namespace) => {
      const answer = await tasks.metrics({ filters: [] }, makeCall({ namespace, timeout: patience }))
      return answer.metrics.map(({ data, id }) => ({ namespace, id, data }))
    })
    return (await Promise.all(answers)).flat()
  })
}
