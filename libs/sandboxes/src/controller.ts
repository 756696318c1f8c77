import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ControllerDefinition,
  ControllerWaitResponse,
  StoreDefinition,
} from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import type { Sandbox } from '@flotilla/api/containerd/types/types'
import type { NodeSandboxesDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Call, hasCode, invalidArgument, notFound, requireNamespace, type ServiceOf, status } from '@flotilla/rpc'
import { nodeHeader, nodeLabel } from './node-label.ts'

export type NodeSandboxesClient = ServiceOf<typeof NodeSandboxesDefinition>

export interface ControllerDeps {
  readonly store: Pick<ServiceOf<StoreDefinition>, 'get'>
  /** The sandboxes of a node; calls to a node that does not answer are UNAVAILABLE. */
  readonly node: (name: string) => NodeSandboxesClient
  /** The node of sandboxes without record, called for by nobody's socket. */
  readonly localNode: string
}

/** Milliseconds of one wait at the node, which bounds what a lost connection can cost. */
const roundTimeout = 20_000

/** Milliseconds until a node that did not answer a wait is asked again. */
const pause = 500

/** The controllers there are. */
const sandboxers: readonly string[] = ['shim']

/** Running sandboxes: each request goes to the sandbox's node. */
export function createSandboxController(deps: ControllerDeps): ServiceOf<ControllerDefinition> {
  async function recordOf(id: string, call: Call): Promise<Sandbox | undefined> {
    try {
      return (await deps.store.get({ sandboxId: id }, call)).sandbox
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND)) return undefined
      throw error
    }
  }

  async function nodeOf(id: string, call: Call, record?: Sandbox): Promise<NodeSandboxesClient> {
    const label = (record ?? (await recordOf(id, call)))?.labels[nodeLabel]
    return deps.node(label || call.metadata.get(nodeHeader) || deps.localNode)
  }

  /** A method that the sandbox's node carries out as it is. */
  const onNode =
    <R extends { sandboxId: string; sandboxer: string }, A>(
      method: (node: NodeSandboxesClient, request: R, call: Call) => Promise<A>,
    ) =>
    async (request: R, call: Call): Promise<A> => {
      requireNamespace(call)
      requireController(request.sandboxer)
      return await method(await nodeOf(request.sandboxId, call), request, call)
    }

  return {
    async create(request, call) {
      requireNamespace(call)
      requireController(request.sandboxer)
      const id = request.sandboxId || (request.sandbox?.sandboxId ?? '')
      const stored = await recordOf(id, call)
      // Clients before 2.0 name the sandbox only; the record that they made says the rest.
      const sandbox = request.sandbox ?? stored
      const node = await nodeOf(id, call, stored ?? sandbox)
      return await node.create({ ...request, sandboxId: id, sandbox }, call)
    },
    start: onNode((node, request, call) => node.start(request, call)),
    platform: onNode((node, request, call) => node.platform(request, call)),
    stop: onNode((node, request, call) => node.stop(request, call)),
    status: onNode((node, request, call) => node.status(request, call)),
    shutdown: onNode((node, request, call) => node.shutdown(request, call)),
    metrics: onNode((node, request, call) => node.metrics(request, call)),
    wait: onNode((node, { sandboxId }, call) => waitForEnd(node, sandboxId, call)),
    // Shims have nothing that could be changed; the record is the store's.
    update: onNode(async () => ({})),
  }
}

function requireController(name: string): void {
  if (name === '') throw invalidArgument('sandbox controller name can not be empty')
  if (!sandboxers.includes(name)) throw notFound(`failed to get sandbox controller by ${name}`)
}

/**
 * Waits for the end of a sandbox, in bounded rounds, for as long as the caller does. Once the node has said that it is
 * there, a node that does not answer is waited for too.
 */
async function waitForEnd(node: NodeSandboxesClient, sandboxId: string, call: Call): Promise<ControllerWaitResponse> {
  let known = false
  for (;;) {
    call.signal.throwIfAborted()
    try {
      const { exited, exitedAt, exitStatus } = await node.wait({ sandboxId, timeoutMs: known ? roundTimeout : 0 }, call)
      if (exited) return { exitStatus, exitedAt }
      known = true
    } catch (error) {
      if (call.signal.aborted || !known || !hasCode(error, status.UNAVAILABLE)) throw error
      await sleep(pause, undefined, { signal: call.signal })
    }
  }
}
