import { DrainProgress_State, type Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { dateOf } from '@flotilla/client'
import { type Command, type Context, number, texts } from '../command.ts'
import { age, asJson, print, printList, size } from '../print.ts'

const one = { min: 1, max: 1 }
const some = { min: 1, max: Number.POSITIVE_INFINITY }

function statusOf({ status, cordoned }: Node): string {
  const ready = status === NodeStatus.NODE_STATUS_READY ? 'Ready' : 'NotReady'
  return cordoned ? `${ready},Cordoned` : ready
}

const labelsOf = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels)
    .filter(([key]) => !key.startsWith('flotilla.io/'))
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(',')

const header = ['NAME', 'STATUS', 'SINCE', 'TASKS', 'CPU', 'MEMORY', 'DISK FREE', 'ADDRESS', 'VERSION', 'LABELS']
const rowOf = (node: Node) => [
  node.name,
  statusOf(node),
  age(dateOf(node.statusSince)),
  String(node.load?.tasks ?? 0),
  `${((node.load?.reservedCpuMillis ?? 0) / 1_000).toFixed(1)}/${node.capacity?.cpus ?? 0}`,
  `${size(node.load?.usedMemory ?? 0)} / ${size(node.capacity?.memory ?? 0)}`,
  size(node.load?.freeDisk ?? 0),
  node.advertise || '-',
  node.version,
  labelsOf(node.labels) || '-',
]

const selector = {
  label: {
    type: 'string',
    short: 'l',
    multiple: true,
    value: 'KEY[=VALUE]',
    text: 'only nodes with this label; several: with all of them',
  },
} as const

async function list({ client, values, json }: Context): Promise<undefined> {
  const { nodes } = await client.nodes.list({ labelSelectors: texts(values, 'label') })
  printList(nodes, json, header, rowOf)
}

/** Does the same to each node that is named, and prints what it is then. */
const each = (change: (context: Context, name: string) => Promise<Node>, done: string) => async (context: Context) => {
  for (const name of context.args) {
    const node = await change(context, name)
    print(context.json ? asJson(node) : `node ${node.name} ${done}`)
  }
  return undefined
}

async function drain({ client, args, values, json, signal }: Context): Promise<number> {
  const grace = number(values, 'grace-period')
  const request = {
    name: args[0] ?? '',
    ...(grace === undefined ? {} : { gracePeriod: { seconds: grace, nanos: 0 } }),
  }
  const states = Object.fromEntries(
    Object.entries(DrainProgress_State).map(([name, value]) => [value, name.toLowerCase()]),
  )
  let failed = 0
  for await (const step of client.nodes.drain(request, { signal })) {
    if (step.state === DrainProgress_State.FAILED) failed++
    const message = step.message === '' ? '' : `: ${step.message}`
    print(
      json
        ? asJson({ ...step, state: states[step.state] })
        : `${step.namespace}/${step.containerId} ${states[step.state]}${message} (${step.remaining} left)`,
    )
  }
  return failed === 0 ? 0 : 1
}

async function watch({ client, values, json, signal }: Context): Promise<undefined> {
  for await (const { node, removed } of client.nodes.watch({ labelSelectors: texts(values, 'label') }, { signal }))
    if (node) print(json ? asJson({ node, removed }) : `${node.name} ${removed ? 'removed' : statusOf(node)}`)
}

export const nodes: readonly Command[] = [
  { name: 'nodes', summary: 'List the nodes of the cluster', options: selector, run: list },
  { name: 'nodes list', summary: 'List the nodes of the cluster', options: selector, run: list },
  {
    name: 'nodes show',
    arguments: 'NAME…',
    summary: 'Tell all that is known of nodes, as JSON',
    count: some,
    completes: 'nodes',
    async run({ client, args }) {
      for (const name of args) print(asJson(await client.nodes.get({ name }), 2))
      return undefined
    },
  },
  { name: 'nodes watch', summary: 'Tell each change of a node as it comes', options: selector, run: watch },
  {
    name: 'nodes cordon',
    arguments: 'NAME…',
    summary: 'Give nodes no new containers',
    count: some,
    completes: 'nodes',
    run: each(({ client }, name) => client.nodes.cordon({ name }), 'is cordoned'),
  },
  {
    name: 'nodes uncordon',
    arguments: 'NAME…',
    summary: 'Give nodes new containers again',
    count: some,
    completes: 'nodes',
    run: each(({ client }, name) => client.nodes.uncordon({ name }), 'takes containers'),
  },
  {
    name: 'nodes drain',
    arguments: 'NAME',
    summary: 'Cordon a node and end its tasks, telling each',
    options: {
      'grace-period': { type: 'string', value: 'SECONDS', text: 'from SIGTERM to SIGKILL; 10 unless given' },
    },
    count: one,
    completes: 'nodes',
    run: drain,
  },
  {
    name: 'nodes remove',
    arguments: 'NAME…',
    summary: 'Forget nodes that do not answer any more',
    count: some,
    completes: 'nodes',
    async run({ client, args }) {
      for (const name of args) await client.nodes.remove({ name })
      return undefined
    },
  },
]
