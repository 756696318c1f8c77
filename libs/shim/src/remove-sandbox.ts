import { makeCall } from '@flotilla/rpc'
import { type Bundle, removeBundle } from './bundle.ts'
import { now } from './exit.ts'
import type { Node } from './node.ts'
import { endShim } from './remove-task.ts'
import { removeRuncRests } from './runc-rests.ts'
import type { Sandbox } from './sandbox.ts'
import { sandboxEvents } from './sandbox-events.ts'
import type { Shim } from './shim.ts'
import { taskKey } from './task.ts'

/** Milliseconds for the calls that clean up. */
const cleanupTimeout = 5_000

/** Status of a sandbox whose shim died without having been told to; containerd's for tasks. */
const unknownStatus = 255

interface Remains {
  readonly bundle: Bundle
  readonly binary: string | undefined
  readonly shim?: Shim | undefined
}

/** Ends the shim of a sandbox, if there is one, and removes what is left of it. The caller holds the lock. */
export async function removeSandbox(node: Node, { binary, bundle, shim }: Remains): Promise<void> {
  const { id, namespace } = bundle
  if (shim) {
    // It may close the connection before its answer is out; what counts is that it ends.
    await shim.sandboxes
      .shutdownSandbox({ sandboxId: id }, makeCall({ namespace, timeout: cleanupTimeout }))
      .catch(() => {})
    await endShim(node, shim, bundle)
  }
  if (binary !== undefined) {
    await node.binaries.delete(binary, bundle).catch((err: unknown) => {
      node.deps.logger.debug({ err, namespace, id }, 'nothing for the shim to clean up')
    })
  }
  await removeRuncRests(node.deps.state, bundle)
  await removeBundle(bundle)
}

/** Tells of the end of a sandbox and removes it. The caller holds the lock. */
export async function burySandbox(node: Node, sandbox: Sandbox): Promise<void> {
  const { bundle, stopping } = sandbox
  const exit = { status: stopping ? 0 : unknownStatus, at: now() }
  sandbox.end(exit)
  await sandboxEvents.exited(node, bundle, await sandbox.ended)
  await removeSandbox(node, sandbox)
  node.sandboxes.delete(taskKey(bundle.namespace, bundle.id))
  sandbox.release()
}

/** Removes a sandbox when its shim ends, told to or not. */
export function watchSandbox(node: Node, sandbox: Sandbox): void {
  const { id, namespace } = sandbox.bundle
  const key = taskKey(namespace, id)
  void sandbox.shim.ended.then(async () => {
    try {
      await node.lock.run(sandboxLock(key), async () => {
        if (node.sandboxes.get(key) === sandbox) await burySandbox(node, sandbox)
      })
    } catch (err) {
      node.deps.logger.error({ err, namespace, id }, 'a sandbox whose shim is gone cannot be cleaned up')
    }
  })
}

/** Name of a sandbox among the locks of the node: a task may have the same id. */
export const sandboxLock = (key: string): string => `sandbox ${key}`
