import type { NodeSandboxesDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Call, hasCode, notFound, prefixed, requireNamespace, type ServiceOf, status } from '@flotilla/rpc'
import { createSandbox } from './create-sandbox.ts'
import { now } from './exit.ts'
import type { Node } from './node.ts'
import { burySandbox, sandboxLock } from './remove-sandbox.ts'
import type { Sandbox } from './sandbox.ts'
import { sandboxEvents } from './sandbox-events.ts'
import type { ShimSandboxes } from './shim.ts'
import { shimCall } from './shim-call.ts'
import { taskKey } from './task.ts'
import { longestWait, within } from './wait.ts'

/** The sandboxes of a node, each hosted by a shim that has the sandbox API. */
export function nodeSandboxes(node: Node): ServiceOf<typeof NodeSandboxesDefinition> {
  const find = (id: string, call: Call) => node.sandboxes.get(taskKey(requireNamespace(call), id))

  function sandboxOf(id: string, call: Call): Sandbox {
    const sandbox = find(id, call)
    if (!sandbox) throw notFound(`sandbox ${id}`)
    return sandbox
  }

  /** Asks a sandbox's shim. One whose shim turns out to be dead is not there. */
  async function ask<T>(sandbox: Sandbox, call: Call, question: (shim: ShimSandboxes, call: Call) => Promise<T>) {
    const { id, namespace } = sandbox.bundle
    try {
      return await question(sandbox.shim.sandboxes, shimCall(namespace, call))
    } catch (error) {
      if (!hasCode(error, status.UNAVAILABLE) || (await sandbox.shim.alive())) throw error
      throw notFound(`sandbox ${id}`, { cause: error })
    }
  }

  function locked<T>(id: string, call: Call, work: () => Promise<T>): Promise<T> {
    return node.lock.run(sandboxLock(taskKey(requireNamespace(call), id)), work, call.signal)
  }

  return {
    async create(request, call) {
      const { sandboxId } = request
      await locked(sandboxId, call, () => createSandbox(node, requireNamespace(call), request, call))
      return { sandboxId }
    },

    async start({ sandboxId }, call) {
      return await locked(sandboxId, call, async () => {
        const sandbox = sandboxOf(sandboxId, call)
        const answer = await prefixed(`failed to start sandbox ${sandboxId}: `, () =>
          ask(sandbox, call, (shim, onward) => shim.startSandbox({ sandboxId }, onward)),
        ).catch(async (error: unknown) => {
          sandbox.stopping = true
          await burySandbox(node, sandbox)
          throw error
        })
        await sandboxEvents.started(node, sandbox.bundle)
        const { createdAt, pid, spec } = answer
        return { sandboxId, pid, createdAt, labels: {}, ...endpoint(sandbox), spec }
      })
    },

    async platform({ sandboxId }, call) {
      const { platform } = await ask(sandboxOf(sandboxId, call), call, (shim, onward) =>
        shim.platform({ sandboxId }, onward),
      )
      return { platform }
    },

    async stop({ sandboxId, timeoutSecs }, call) {
      const sandbox = find(sandboxId, call)
      if (!sandbox) return {}
      sandbox.stopping = true
      try {
        await ask(sandbox, call, (shim, onward) => shim.stopSandbox({ sandboxId, timeoutSecs }, onward))
      } catch (error) {
        if (!hasCode(error, status.NOT_FOUND)) throw error
      }
      return {}
    },

    async wait({ sandboxId, timeoutMs }, call) {
      const sandbox = sandboxOf(sandboxId, call)
      const atShim = ask(sandbox, call, (shim, onward) => shim.waitSandbox({ sandboxId }, onward)).then(
        (answer) => {
          const exit = { status: answer.exitStatus, at: answer.exitedAt ?? now() }
          return exit
        },
        (error: unknown) => {
          if (hasCode(error, status.NOT_FOUND)) return sandbox.ended
          throw error
        },
      )
      const exit = await within(Promise.race([atShim, sandbox.ended]), Math.min(timeoutMs, longestWait), call.signal)
      return { exited: exit !== undefined, exitStatus: exit?.status ?? 0, exitedAt: exit?.at }
    },

    async status({ sandboxId, verbose }, call) {
      const sandbox = find(sandboxId, call)
      const gone = {
        sandboxId,
        pid: 0,
        state: '',
        info: {},
        createdAt: undefined,
        extra: undefined,
        address: '',
        version: 0,
      }
      if (!sandbox) return { ...gone, exitedAt: now() }
      const { createdAt, exitedAt, extra, info, pid, state } = await ask(sandbox, call, (shim, onward) =>
        shim.sandboxStatus({ sandboxId, verbose }, onward),
      )
      return { sandboxId, pid, state, info, createdAt, exitedAt, extra, ...endpoint(sandbox) }
    },

    async shutdown({ sandboxId }, call) {
      return await locked(sandboxId, call, async () => {
        const sandbox = sandboxOf(sandboxId, call)
        sandbox.stopping = true
        // From here on it is finished even if the caller leaves.
        await burySandbox(node, sandbox)
        return {}
      })
    },

    async metrics({ sandboxId }, call) {
      const { metrics } = await ask(sandboxOf(sandboxId, call), call, (shim, onward) =>
        shim.sandboxMetrics({ sandboxId }, onward),
      )
      return { metrics }
    },
  }
}

/** Where the tasks of a sandbox's containers are made: `ttrpc+unix://PATH`, as containerd's clients expect it. */
function endpoint({ shim }: Sandbox): { address: string; version: number } {
  return { address: shim.address.replace(/^(ttrpc\+)?unix:/, 'ttrpc+unix:'), version: shim.version }
}
