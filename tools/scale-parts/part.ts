// One process of the simulation: many agents, or nodes that listen to all others and ask them. See ../scale.ts.
import { setTimeout as sleep } from 'node:timers/promises'
import { Process } from '@flotilla/api/containerd/v1/types/types'
import { Node } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { commandClient, createBus, serveCommands } from '@flotilla/bus'
import { announce, createPresence } from '@flotilla/cluster'
import { createEventsService } from '@flotilla/events'
import { createLogger } from '@flotilla/log'
import { claimNodeName, createMetadata } from '@flotilla/metadata'
import { makeCall, type ServiceOf } from '@flotilla/rpc'
import type { Answer, Order } from './orders.ts'

const [, , kind = '', redis = '', nats = ''] = process.argv
const logger = createLogger({ level: 'warn', name: kind })
const nameOf = (index: number) => `node-${index}`
const metadata = await createMetadata({ url: redis, origin: kind, directEvents: true })
const bus = await createBus({ url: nats, name: kind })
let heard = 0

/** As large as that of a real node. */
const record = (name: string) =>
  Node.fromPartial({
    name,
    labels: { 'flotilla.io/hostname': name, 'flotilla.io/os': 'linux', 'flotilla.io/arch': 'amd64', zone: 'somewhere' },
    advertise: '10.100.200.30:7000',
    version: '0.1.0',
    kernel: '6.1.0-18-amd64',
    platform: { os: 'linux', architecture: 'amd64' },
    capacity: { cpus: 64, memory: 2 ** 38, disk: 2 ** 42 },
    load: { reservedCpuMillis: 12_345, reservedMemory: 2 ** 36, tasks: 40, containers: 40, loadAverage: Math.random() },
    snapshotters: ['native', 'overlayfs'],
    runtimes: ['io.containerd.runc.v2'],
  })

/** Each with a connection of its own, as nodes have. */
async function startAgents(count: number): Promise<void> {
  const tasks: Pick<ServiceOf<typeof NodeTasksDefinition>, 'get'> = {
    get: async ({ containerId }) => ({ process: Process.fromPartial({ id: containerId }) }),
  }
  for (let index = 0; index < count; index++) {
    const name = nameOf(index)
    const own = await createBus({ url: nats, name })
    serveCommands(own.nats, name, NodeTasksDefinition, tasks as ServiceOf<typeof NodeTasksDefinition>)
    await claimNodeName(metadata, name, name)
    await announce({ nats: own.nats, metadata, name, holder: name, describe: async () => record(name), logger })
    // Nodes do not start in step.
    await sleep(1_500 / count)
  }
}

async function startListeners(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const own = await createBus({ url: nats, name: `${kind}-${index}` })
    if (kind === 'sinks') {
      own.nats.subscribe('flotilla.presence.*', { callback: () => {} })
      continue
    }
    createPresence({ nats: own.nats, metadata })
    if (index === 0) own.nats.subscribe('flotilla.presence.*', { callback: () => void heard++ })
  }
}

async function commands(nodes: number, seconds: number): Promise<Answer> {
  const times: number[] = []
  const end = performance.now() + seconds * 1_000
  const ask = async () => {
    while (performance.now() < end) {
      const node = nameOf(Math.floor(Math.random() * nodes))
      const began = performance.now()
      await commandClient(bus.nats, node, NodeTasksDefinition).get(
        { containerId: 'c', execId: '' },
        makeCall({ namespace: 'scale', timeout: 10_000 }),
      )
      times.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: 64 }, ask))
  times.sort((a, b) => a - b)
  return { cpu: 0, count: times.length, median: Math.round((times[times.length >> 1] ?? 0) * 100) / 100 }
}

/** Counts what a subscriber gets, from the first event to the last that was told in time. */
async function events(nodes: number, seconds: number): Promise<Answer> {
  const service = createEventsService({ metadata, nodeName: kind, nats: bus.nats, logger })
  const over = new AbortController()
  let count = 0
  const subscribed = (async () => {
    for await (const _ of service.subscribe({ filters: [] }, makeCall({ signal: over.signal }))) count++
  })().catch((error: unknown) => {
    if (!over.signal.aborted) throw error
  })
  const end = performance.now() + seconds * 1_000
  const tell = async () => {
    while (performance.now() < end) {
      const node = nameOf(Math.floor(Math.random() * nodes))
      const value = Buffer.alloc(120)
      await metadata.transact(`namespace-${Math.floor(Math.random() * 10)}`, {
        events: [{ topic: '/tasks/exit', typeUrl: 'containerd.events.TaskExit', value, node }],
      })
    }
  }
  await Promise.all(Array.from({ length: 64 }, tell))
  over.abort()
  await subscribed
  await service[Symbol.asyncDispose]()
  return { cpu: 0, count, median: 0 }
}

async function obey(order: Order): Promise<Answer> {
  if (order.do === 'commands') return await commands(order.nodes, order.seconds)
  if (order.do === 'events') return await events(order.nodes, order.seconds)
  if (order.do === 'start') await (kind === 'agents' ? startAgents(order.count) : startListeners(order.count))
  const { system, user } = process.cpuUsage()
  return { cpu: (system + user) / 1e6, count: heard, median: 0 }
}

process.on('message', (order: Order) => {
  void obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => {
      logger.error({ err: error }, 'this part of the simulation failed')
      process.exit(1)
    },
  )
})
process.once('disconnect', () => process.exit(0))
