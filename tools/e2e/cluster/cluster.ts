import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { NodeStatus, NodesDefinition as Nodes, type NodesDefinition } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { type Entry, LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { clientOf, connect, makeCall, type ServiceDefinition, type ServiceOf } from '@flotilla/rpc'
import { type FaultyRegistry, startFaultyRegistry, tempWorld, until } from '@flotilla/testing'
import { removeEmptyGroups } from '../harness/cgroups.ts'
import { type CtrInvocation, type CtrResult, type RunningCtr, runCtr, startCtr } from '../harness/ctr.ts'
import { runFlotilla } from '../harness/flotilla.ts'
import { debian12, repository } from '../harness/versions.ts'

const program = join(repository, 'tools/cluster')

export interface ClusterNode {
  readonly name: string
  readonly socket: string
  readonly endpoint: string
  readonly pid: number
}

type Extras = Partial<Pick<CtrInvocation, 'terminal' | 'env' | 'longest'>> & { readonly input?: string | Buffer }

/** Nodes in network namespaces, as `tools/cluster` makes them, and a registry that all of them reach. */
export interface Cluster extends AsyncDisposable {
  readonly dir: string
  readonly gateway: string
  readonly nodes: readonly ClusterNode[]
  readonly registry: FaultyRegistry
  node(name: string): ClusterNode
  /** `tools/cluster VERB NAME`. */
  tell(verb: 'partition' | 'heal' | 'kill' | 'start', name: string): Promise<void>
  /** Runs ctr at a node's socket and gives what came, whatever it was. */
  run(node: string, args: readonly string[], extras?: Extras): Promise<CtrResult>
  /** Runs ctr at a node's socket, wants success, gives its standard output. */
  ctr(node: string, ...args: string[]): Promise<string>
  start(node: string, args: readonly string[], extras?: Extras): RunningCtr
  /** Runs flotilla at a node's endpoint, node a's unless named, as a client who may do everything. */
  flotilla(args: readonly string[], options?: { readonly input?: string; readonly node?: string }): Promise<CtrResult>
  /** The events of the cluster in order, as a node gives them: from a number on, up to the newest. */
  events(node: string, sequence: number): Promise<Entry[]>
  /** A service at a node's socket. */
  client<D extends ServiceDefinition>(definition: D, node: string): ServiceOf<D>
  /** Waits until a node sees another as ready, or not. */
  sees(from: string, of: string, ready: boolean, timeout: number): Promise<void>
}

export const namespace = 'e2e-cluster'

/** @param tmpfs whether memory has room for what the nodes will hold */
export async function startCluster(count = 3, tmpfs = true): Promise<Cluster> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ tmpfs, name: 'cluster' }))
  const dir = world.join('cluster')
  const tool = async (...args: string[]) => {
    try {
      return (await promisify(execFile)(program, [...args, '--dir', dir], { maxBuffer: 1 << 20 })).stdout
    } catch (error) {
      throw new Error(`tools/cluster ${args.join(' ')}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  // Groups go when the containers in them have gone.
  stack.defer(() => removeEmptyGroups(namespace))
  stack.defer(async () => void (await tool('down')))
  const made = JSON.parse(await tool('up', '--nodes', String(count), '--log-level', 'debug')) as {
    gateway: string
    nodes: ClusterNode[]
  }
  const registry = stack.use(await startFaultyRegistry({ address: made.gateway }))
  const channels = new Map<string, ReturnType<typeof connect>>()
  stack.defer(() => {
    for (const channel of channels.values()) channel.close()
  })
  const node = (name: string) => {
    const found = made.nodes.find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no node ${name}`)
    return found
  }
  const at = (name: string) => ({ address: node(name).socket, version: debian12, namespace })
  const owned = stack.move()
  const cluster: Cluster = {
    dir,
    gateway: made.gateway,
    nodes: made.nodes,
    registry,
    node,
    tell: async (verb, name) => void (await tool(verb, name)),
    run: (name, args, extras = {}) => runCtr({ ...at(name), ...extras, args }),
    start: (name, args, extras = {}) => startCtr({ ...at(name), ...extras, args }),
    async ctr(name, ...args) {
      const { code, stderr, stdout } = await cluster.run(name, args)
      if (code !== 0)
        throw new Error(
          `ctr ${args.join(' ')} on ${name} ended with ${code}: ${stderr}${stdout}\n${cluster.nodes
            .map((one) => `--- log of ${one.name}\n${tail(join(dir, one.name, 'log'))}`)
            .join('\n')}`,
        )
      return stdout
    },
    flotilla(args, { input, node: name = 'a' } = {}) {
      const pki = join(dir, 'pki')
      const env = {
        FLOTILLA_ADDRESS: node(name).endpoint,
        FLOTILLA_NAMESPACE: namespace,
        FLOTILLA_CA: join(pki, 'ca.crt'),
        FLOTILLA_CERT: join(pki, 'admin.crt'),
        FLOTILLA_KEY: join(pki, 'admin.key'),
      }
      return runFlotilla({ args, env, ...(input === undefined ? {} : { input }) })
    },
    async events(name, sequence) {
      const entries: Entry[] = []
      const request = { sequence, filters: [], node: '', follow: false }
      for await (const entry of cluster.client(LogDefinition, name).read(request, makeCall({ timeout: 10_000 })))
        entries.push(entry)
      return entries
    },
    client(definition, name) {
      const { socket } = node(name)
      const channel = channels.get(socket) ?? connect(`unix://${socket}`)
      channels.set(socket, channel)
      return clientOf(definition, channel)
    },
    async sees(from, of, ready, timeout) {
      const nodes: ServiceOf<NodesDefinition> = cluster.client(Nodes, from)
      const wanted = ready ? NodeStatus.NODE_STATUS_READY : NodeStatus.NODE_STATUS_NOT_READY
      await until(
        `${from} to see ${of} ${ready ? 'ready' : 'not ready'}`,
        async () => (await nodes.get({ name: of }, makeCall({ timeout: 5_000 }))).status === wanted,
        { timeout },
      )
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
  return cluster
}

const tail = (path: string): string => readFileSync(path, 'utf8').trimEnd().split('\n').slice(-15).join('\n')

/** How often each blob was asked for, by digest. */
export function fetchesOf({ requests }: FaultyRegistry): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { method, path } of requests) {
    const digest = /\/(?:blobs|manifests)\/(sha256:[0-9a-f]+)$/.exec(path)?.[1]
    if (method === 'GET' && digest !== undefined) counts.set(digest, (counts.get(digest) ?? 0) + 1)
  }
  return counts
}
