import { Status } from '@flotilla/api/containerd/v1/types/types'
import { type Client, dateOf } from '@flotilla/client'
import { type Command, flag, text } from '../command.ts'
import { age, print, printList } from '../print.ts'

const words = Object.fromEntries(Object.entries(Status).map(([name, value]) => [value, name.toLowerCase()]))

/** A container with its task, as listed. */
export interface Listed {
  readonly id: string
  readonly image: string
  readonly node: string
  /** `created` for a container without a task. */
  readonly status: string
  readonly pid: number
  readonly exitStatus: number | undefined
  readonly createdAt: Date
  readonly labels: Readonly<Record<string, string>>
}

/** Every container of the namespace with the state of its task, oldest first. */
export async function listContainers(client: Client, filters: readonly string[] = []): Promise<Listed[]> {
  const tasks = new Map((await client.tasks.list({})).tasks.map((task) => [task.id, task]))
  const listed: Listed[] = []
  for await (const { container } of client.containers.listStream({ filters: [...filters] })) {
    if (container === undefined) continue
    const task = tasks.get(container.id)
    listed.push({
      id: container.id,
      image: container.image,
      node: container.labels['flotilla.io/node'] ?? '',
      status: task === undefined ? 'created' : (words[task.status] ?? 'unknown'),
      pid: task?.pid ?? 0,
      exitStatus: task?.status === Status.STOPPED ? task.exitStatus : undefined,
      createdAt: dateOf(container.createdAt),
      labels: container.labels,
    })
  }
  return listed.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())
}

export const ps: Command = {
  name: 'ps',
  summary: 'List containers, those that run unless asked for all',
  options: {
    all: { type: 'boolean', text: 'those without a running task too' },
    node: { type: 'string', value: 'NAME', text: 'only those on this node', completes: 'nodes' },
    quiet: { type: 'boolean', short: 'q', text: 'only their ids' },
  },
  async run({ client, values, json }) {
    const node = text(values, 'node')
    const listed = (await listContainers(client)).filter(
      (each) =>
        (node === undefined || each.node === node) &&
        (flag(values, 'all') || !['created', 'stopped'].includes(each.status)),
    )
    if (flag(values, 'quiet') && !json) {
      for (const { id } of listed) print(id)
      return undefined
    }
    printList(listed, json, ['CONTAINER', 'IMAGE', 'NODE', 'STATUS', 'PID', 'AGE'], (each) => [
      each.id,
      each.image || '-',
      each.node || '-',
      each.exitStatus === undefined ? each.status : `${each.status} (${each.exitStatus})`,
      each.pid === 0 ? '-' : String(each.pid),
      age(each.createdAt),
    ])
    return undefined
  },
}
