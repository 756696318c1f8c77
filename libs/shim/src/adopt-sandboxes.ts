import { rm } from 'node:fs/promises'
import { readBootstrap, socketPath } from './bootstrap.ts'
import { type Bundle, listBundles, readBundleFile, removeRests } from './bundle.ts'
import { now } from './exit.ts'
import { followShimLog, type Node, servingShims } from './node.ts'
import { removeSandbox, watchSandbox } from './remove-sandbox.ts'
import { Sandbox } from './sandbox.ts'
import { sandboxEvents } from './sandbox-events.ts'
import { Shim } from './shim.ts'
import { killShims, shimsOf } from './shim-processes.ts'
import { taskKey } from './task.ts'

/** Takes over the sandboxes of an earlier life of this program; what is left of those that ended goes. */
export async function adoptSandboxes(node: Node): Promise<void> {
  const { logger } = node.deps
  for (const bundle of await listBundles(node.sandboxRoots)) {
    const { id, namespace } = bundle
    try {
      logger.info({ namespace, id }, await adopt(node, bundle))
    } catch (err) {
      logger.error({ err, namespace, id }, 'a sandbox of an earlier run can be neither adopted nor removed')
    }
  }
  await removeRests(node.sandboxRoots)
}

async function adopt(node: Node, bundle: Bundle): Promise<string> {
  const { id, namespace } = bundle
  const binary = await readBundleFile(bundle, 'shim-binary-path')
  const bootstrap = await readBootstrap(bundle)
  const shim = bootstrap && (await Shim.connect(bootstrap, namespace, id).catch(() => undefined))
  if (shim && binary !== undefined) {
    const sandbox = new Sandbox({ bundle, binary, shim, log: followShimLog(node, bundle) })
    node.sandboxes.set(taskKey(namespace, id), sandbox)
    watchSandbox(node, sandbox)
    return 'adopted a sandbox'
  }
  const { grpcAddress } = node.deps
  await killShims(grpcAddress, await shimsOf(grpcAddress, bundle, servingShims(node)))
  if (bootstrap) await rm(socketPath(bootstrap.address), { force: true })
  if (bootstrap) await sandboxEvents.exited(node, bundle, { status: 255, at: now() })
  await removeSandbox(node, { bundle, binary })
  return 'removed a sandbox whose shim is gone'
}
