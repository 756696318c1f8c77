import { setTimeout as sleep } from 'node:timers/promises'
import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { type Process, Status } from '@flotilla/api/containerd/v1/types/types'
import { type Call, hasCode, makeCall, status } from '@flotilla/rpc'
import type { RestartDeps } from './deps.ts'
import { restartLabels } from './labels.ts'
import { isExplicitlyStopped, parsePolicy, wantsRestart } from './policy.ts'
import { startTask, stopTask } from './start-task.ts'

export type { RestartDeps } from './deps.ts'

/** The label that says which node a container is on. */
const nodeLabel = 'flotilla.io/node'

/** Milliseconds that a client has between making a container, making its task and starting it, before we do so. */
const settling = 10_000

/** Milliseconds that bringing one container into its state may take. */
const patience = 60_000

/**
 * Looks after the containers of a node, at once and then again and again, until it is disposed; that gives up what is
 * being started, and the next monitor takes it up.
 */
export function createRestartMonitor(deps: RestartDeps): AsyncDisposable {
  const ended = new AbortController()
  const monitor = new Monitor(deps)
  const running = (async () => {
    while (!ended.signal.aborted) {
      await monitor
        .look(ended.signal)
        .catch((err: unknown) => deps.logger.warn({ err }, 'restart monitor cannot look now'))
      await sleep(deps.interval(), undefined, { signal: ended.signal }).catch(() => {})
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await running
    },
  }
}

/** The containers of a namespace that ask to be looked after. */
interface Asking {
  /** The count of changes before they were listed: while it is this they are the same. */
  readonly mutations: number
  readonly containers: readonly Container[]
}

class Monitor {
  readonly #deps: RestartDeps
  /** By namespace. */
  readonly #asking = new Map<string, Asking>()
  /** Since when, in milliseconds since the epoch, containers have no started task. */
  #unstarted = new Map<string, number>()
  #hasLooked = false

  constructor(deps: RestartDeps) {
    this.#deps = deps
  }

  /** Brings every container that asks for it into its state. One that cannot be is told of and tried again next time. */
  async look(signal?: AbortSignal): Promise<void> {
    const { logger, namespaces, nodeName } = this.#deps
    const before = this.#unstarted
    this.#unstarted = new Map()
    const work = (await namespaces()).map(async (namespace) => {
      const call = () => makeCall({ namespace, timeout: patience, signal, metadata: { 'flotilla-node': nodeName } })
      const each = (await this.#askingIn(namespace, call())).map(async (listed) => {
        try {
          const container = this.#hasLooked ? listed : await this.#begin(listed, call())
          await this.#reconcile(container, `${namespace}/${container.id}`, before, call())
        } catch (err) {
          logger.warn(
            { err, namespace, id: listed.id },
            'a container cannot be brought into the state that it asks for',
          )
        }
      })
      await Promise.all(each)
    })
    await Promise.all(work)
    this.#hasLooked = true
  }

  /** Those that ask for it; where nothing was written since the last look they need not be picked out of all again. */
  async #askingIn(namespace: string, call: Call): Promise<readonly Container[]> {
    const { containers, mutations, nodeName } = this.#deps
    const count = await mutations(namespace)
    const known = this.#asking.get(namespace)
    if (known?.mutations === count) return known.containers
    const filters = [`labels."${restartLabels.status}",labels."${nodeLabel}"==${JSON.stringify(nodeName)}`]
    const found = (await containers.list({ filters }, call)).containers
    this.#asking.set(namespace, { mutations: count, containers: found })
    return found
  }

  /** With the daemon those of the policy `always` start again, also those that somebody stopped. */
  async #begin(listed: Container, call: Call): Promise<Container> {
    const { id, labels } = listed
    const isAlways = parsePolicy(labels[restartLabels.policy] ?? '')?.name === 'always'
    if (!isAlways || !isExplicitlyStopped(labels)) return listed
    const { container } = await this.#deps.containers.update(
      {
        container: Container.fromPartial({ id, labels: { [restartLabels.explicitlyStopped]: 'false' } }),
        updateMask: [`labels.${restartLabels.explicitlyStopped}`],
      },
      call,
    )
    return container ?? listed
  }

  async #reconcile(container: Container, key: string, before: ReadonlyMap<string, number>, call: Call): Promise<void> {
    const { id, labels } = container
    const task = await this.#taskOf(id, call)
    const wanted = labels[restartLabels.status]
    if (wanted === 'stopped') {
      if (task && task.status !== Status.STOPPED && task.status !== Status.UNKNOWN)
        await stopTask(this.#deps, container, call)
      return
    }
    if (wanted !== 'running') return
    if (task?.status !== Status.STOPPED) {
      if (task && task.status !== Status.CREATED) return
      // A client may be about to make it, or to start it: only what stays so is ours to mend.
      const since = before.get(key) ?? Date.now()
      this.#unstarted.set(key, since)
      if (Date.now() - since < settling) return
      if (task && wantsRestart(labels, 0)) await stopTask(this.#deps, container, call)
    }
    if (!wantsRestart(labels, task?.exitStatus ?? 0)) return
    this.#deps.logger.info({ namespace: call.namespace, id, exitStatus: task?.exitStatus }, 'starting a task again')
    await startTask(this.#deps, container, call)
  }

  async #taskOf(id: string, call: Call): Promise<Process | undefined> {
    try {
      return (await this.#deps.tasks.get({ containerId: id, execId: '' }, call)).process
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND)) return undefined
      throw error
    }
  }
}
