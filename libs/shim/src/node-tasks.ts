import { join } from 'node:path'
import { EventsDefinition as ForwardDefinition } from '@flotilla/api/containerd/services/events/ttrpc/v1/ttrpc'
import type { NodeSandboxesDefinition, NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { Empty } from '@flotilla/api/google/protobuf/empty'
import { invalidArgument, requireNamespace, type ServiceOf, unavailable } from '@flotilla/rpc'
import { serveTtrpc } from '@flotilla/ttrpc'
import { adoptTasks } from './adopt.ts'
import { bundleRoots, sandboxRoots } from './bundle.ts'
import { removeAbandonedCheckpoints } from './checkpoint-folder.ts'
import { createTask } from './create-task.ts'
import { deliverJournal } from './deliver.ts'
import type { NodeTasksDeps } from './deps.ts'
import { Journal } from './journal.ts'
import { KeyedLock } from './keyed-lock.ts'
import { Ledger } from './ledger.ts'
import type { Node } from './node.ts'
import { nodeSandboxes } from './node-sandboxes.ts'
import { Recorder } from './recorder.ts'
import { runningTasks } from './running-tasks.ts'
import { ShimBinaries } from './shim-binary.ts'
import { taskKey } from './task.ts'

/** The tasks of this node and the sandboxes that they may be in. Disposing it leaves shims and containers running; a new one adopts them. */
export type NodeTasks = ServiceOf<typeof NodeTasksDefinition> &
  AsyncDisposable & { readonly sandboxes: ServiceOf<typeof NodeSandboxesDefinition> }

/** Milliseconds between two looks for what the ledger may forget. */
const expiryInterval = 60_000

function withoutScheme(address: string): string {
  return address.replace(/^unix:\/\//, '')
}

/**
 * Starts what runs tasks on this node: serves the socket that shims send events to, adopts what an earlier run left,
 * and goes on delivering events that were journalled. Resolves when all tasks are adopted.
 */
export async function createNodeTasks(given: NodeTasksDeps): Promise<NodeTasks> {
  const deps = {
    ...given,
    grpcAddress: withoutScheme(given.grpcAddress),
    ttrpcAddress: withoutScheme(given.ttrpcAddress),
  }
  await using stack = new AsyncDisposableStack()
  const journal = stack.use(await Journal.open(join(deps.root, 'flotilla.node.v1.tasks', 'journal')))
  const ledger = new Ledger()
  const tasks: Node['tasks'] = new Map()
  const recorder = new Recorder(journal, ledger, (end, key, exit) => {
    if (end !== 'exit') return
    const record = tasks.get(taskKey(key.namespace, key.id))?.record
    const process = record?.processes.get(key.execId)
    if (!record || !process || (process.pid !== 0 && process.pid !== key.pid)) return
    try {
      record.exited(key.execId, exit)
    } catch (err) {
      // The journal has it; without this line it may be reported once more after a restart in ten minutes.
      deps.logger.warn({ err, ...key }, 'an exit cannot be noted in its bundle')
    }
  })
  await recorder.recall()
  const env = deps.env ?? process.env
  const node: Node = {
    deps,
    searchPath: env.PATH ?? '',
    roots: bundleRoots(deps.state, deps.root),
    sandboxRoots: sandboxRoots(deps.state, deps.root),
    sandboxes: new Map(),
    binaries: new ShimBinaries(deps, env),
    ledger,
    recorder,
    tasks,
    lock: new KeyedLock(),
  }

  // Before anything is adopted: shims that could not reach us have events to send.
  const forward: ServiceOf<typeof ForwardDefinition> = {
    async forward({ envelope }) {
      if (!envelope) throw invalidArgument('event envelope is missing')
      await recorder.record(envelope)
      return Empty.create()
    },
  }
  stack.use(await serveTtrpc(deps.ttrpcAddress, [{ definition: ForwardDefinition, service: forward }]))
  stack.defer(() => {
    for (const held of [...tasks.values(), ...node.sandboxes.values()]) held.release()
  })
  const ended = new AbortController()
  const expiry = setInterval(() => ledger.expire((namespace, id) => tasks.has(taskKey(namespace, id))), expiryInterval)
  expiry.unref()
  const delivery = deliverJournal(journal, deps, ended.signal)
  stack.defer(async () => {
    clearInterval(expiry)
    ended.abort()
    await delivery
  })
  let stopping = false
  // What is being made or removed is brought to its end while the shims can still be reached.
  stack.defer(async () => {
    stopping = true
    await node.lock.idle()
  })
  await adoptTasks(node)
  await removeAbandonedCheckpoints(deps.root)

  const sandboxes = nodeSandboxes(node)
  const resources = stack.move()
  return {
    ...runningTasks(node),
    sandboxes: {
      ...sandboxes,
      async create(request, call) {
        if (stopping) throw unavailable(`node "${deps.nodeName}" is stopping`)
        return await sandboxes.create(request, call)
      },
    },
    async create(command, call) {
      const namespace = requireNamespace(call)
      if (stopping) throw unavailable(`node "${deps.nodeName}" is stopping`)
      const key = taskKey(namespace, command.request?.containerId ?? '')
      return await node.lock.run(key, () => createTask(node, namespace, command, call), call.signal)
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}
