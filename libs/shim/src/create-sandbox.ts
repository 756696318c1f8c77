import type { ControllerCreateRequest } from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { alreadyExists, type Call, invalidArgument, prefixed, unavailable, validateIdentifier } from '@flotilla/rpc'
import { writeBootstrap } from './bootstrap.ts'
import { bundleOf, createBundle, writeBundleFile } from './bundle.ts'
import { followShimLog, type Node, servingShims } from './node.ts'
import { removeSandbox, watchSandbox } from './remove-sandbox.ts'
import { withOwnRoot } from './runc-options.ts'
import { findShimBinary } from './runtime-binary.ts'
import { Sandbox } from './sandbox.ts'
import { sandboxEvents } from './sandbox-events.ts'
import { Shim } from './shim.ts'
import { shimCall } from './shim-call.ts'
import { killShims, shimsOf } from './shim-processes.ts'
import { taskKey } from './task.ts'

/** Makes a sandbox: bundle, shim, and what the shim makes of it. When any step fails nothing is left. The caller holds the lock. */
export async function createSandbox(
  node: Node,
  namespace: string,
  request: ControllerCreateRequest,
  call: Call,
): Promise<Sandbox> {
  const { sandbox: record, sandboxId: id } = request
  validateIdentifier(id, `invalid sandbox id ${id}: `)
  if (!record?.runtime?.name) throw invalidArgument(`sandbox "${id}" has no runtime`)
  const key = taskKey(namespace, id)
  if (node.sandboxes.has(key)) throw alreadyExists(`sandbox ${id} already running`)
  const { deps, searchPath } = node
  const binary = await findShimBinary(record.runtime.name, searchPath, deps.publishBinary)
  const options = withOwnRoot(record.runtime.options, binary, deps.state)
  const bundle = bundleOf(node.sandboxRoots, namespace, id)
  if ((await shimsOf(deps.grpcAddress, bundle, new Set())).some(({ action }) => action === undefined))
    throw unavailable(`the shim of sandbox ${id} does not answer, or serves a task of that name`)

  let log: Disposable | undefined
  let shim: Shim | undefined
  try {
    await createBundle(bundle, record.spec)
    await writeBundleFile(bundle, 'shim-binary-path', binary)
    log = followShimLog(node, bundle)
    const failure = `failed to start new shim for sandbox ${id}: `
    const bootstrap = await prefixed(failure, () => node.binaries.start(binary, bundle, options, call.signal))
    await writeBootstrap(bundle, bootstrap)
    shim = await prefixed(failure, () => Shim.connect(bootstrap, namespace, id, call.signal))
    const sandbox = new Sandbox({ bundle, binary, shim, log })
    await prefixed(`failed to create sandbox ${id}: `, () =>
      sandbox.shim.sandboxes.createSandbox(
        {
          sandboxId: id,
          bundlePath: bundle.path,
          rootfs: request.rootfs,
          options: request.options,
          netnsPath: request.netnsPath,
          annotations: request.annotations,
        },
        shimCall(namespace, call),
      ),
    )
    await sandboxEvents.created(node, bundle)
    node.sandboxes.set(key, sandbox)
    watchSandbox(node, sandbox)
    return sandbox
  } catch (error) {
    if (!shim) await killShims(deps.grpcAddress, await shimsOf(deps.grpcAddress, bundle, servingShims(node)))
    await removeSandbox(node, { bundle, binary, shim }).catch((err: unknown) => {
      deps.logger.error({ err, namespace, id }, 'a sandbox that could not be made left something behind')
    })
    log?.[Symbol.dispose]()
    throw error
  }
}
