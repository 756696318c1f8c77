import { existsSync } from 'node:fs'
import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import type { CreateTaskResponse } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import type { CreateTaskCommand } from '@flotilla/api/flotilla/node/v1/node'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { errnoOf } from '@flotilla/linux'
import {
  alreadyExists,
  type Call,
  hasCode,
  invalidArgument,
  prefixed,
  status,
  unavailable,
  validateIdentifier,
} from '@flotilla/rpc'
import { type Bootstrap, writeBootstrap } from './bootstrap.ts'
import { type Bundle, bundleOf, createBundle, writeBundleFile } from './bundle.ts'
import { followShimLog, type Node, servingShims } from './node.ts'
import { ProcessRecord } from './process-record.ts'
import { undoTask } from './remove-task.ts'
import { markRootfs, prepareRootfs } from './rootfs-mounts.ts'
import { runcOptions, withOwnRoot } from './runc-options.ts'
import { findShimBinary } from './runtime-binary.ts'
import { Shim } from './shim.ts'
import { shimCall } from './shim-call.ts'
import { shimsOf } from './shim-processes.ts'
import { processKey, Task, taskKey } from './task.ts'
import { watchShim } from './watch-shim.ts'

/** Makes a task: bundle, shim, container. When any step fails nothing of it is left. The caller holds the lock. */
export async function createTask(
  node: Node,
  namespace: string,
  { checkpointPath, container, request }: CreateTaskCommand,
  call: Call,
): Promise<CreateTaskResponse> {
  if (!request) throw invalidArgument('task request is missing')
  const id = request.containerId
  validateIdentifier(id, `invalid task id ${id}: `)
  if (node.tasks.has(taskKey(namespace, id))) throw alreadyExists(`task ${id}`)
  const { deps, searchPath } = node
  const runtime = request.runtimePath || (container?.runtime?.name ?? '')
  const binary = await findShimBinary(runtime, searchPath, deps.publishBinary)
  const asked = request.options?.value.length ? request.options : (container?.runtime?.options ?? request.options)
  const options = withOwnRoot(asked, binary, deps.state)
  const begun = Date.now()

  const bundle = bundleOf(node.roots, namespace, id)
  await requireFree(node, bundle)
  let log: Disposable | undefined
  let shim: Shim | undefined
  // Whether the shim holds nothing for certain: it was not asked yet, or it said no.
  let clean = true
  try {
    await createBundle(bundle, container?.spec)
    const checkpoint = await takeCheckpoint(bundle, checkpointPath, options)
    await writeBundleFile(bundle, 'shim-binary-path', binary)
    log = followShimLog(node, bundle)
    clean = false
    const bootstrap =
      given(node, namespace, container, request, options) ??
      (await prefixed('failed to start shim: ', () => node.binaries.start(binary, bundle, options, call.signal)))
    await writeBootstrap(bundle, bootstrap)
    shim = await prefixed('failed to start shim: ', () => Shim.connect(bootstrap, namespace, id, call.signal))
    const { tasks } = shim
    const { stderr, stdin, stdout, terminal } = request
    const { made, rootfs } = await prepareRootfs(node, bundle, request.rootfs, call)
    const answer = await prefixed('failed to create shim task: ', () =>
      tasks.create(
        {
          id,
          bundle: bundle.path,
          rootfs: [...rootfs],
          terminal,
          stdin,
          stdout,
          stderr,
          checkpoint,
          parentCheckpoint: '',
          options,
        },
        shimCall(namespace, call),
      ),
    ).catch((error: unknown) => {
      clean = isRefusal(error)
      throw error
    })
    // The mounts that were there before go with this task now, as containerd has it.
    if (!made && rootfs !== request.rootfs) await markRootfs(bundle)
    const key = processKey(bundle, '', answer.pid)
    node.ledger.forgetBefore(key, begun)
    const record = ProcessRecord.load(bundle)
    record.made('', answer.pid)
    const task = new Task({ adopted: false, bundle, binary, record, shim, log })
    const ended = node.ledger.exitOf(key)
    if (ended) record.exited('', ended)
    node.tasks.set(taskKey(namespace, id), task)
    watchShim(node, task)
    return { containerId: id, pid: answer.pid }
  } catch (error) {
    await undoTask(node, { binary, bundle, record: ProcessRecord.load(bundle) }, shim, clean).catch((err: unknown) => {
      deps.logger.error({ err, namespace, id }, 'a task that could not be made left something behind')
    })
    log?.[Symbol.dispose]()
    throw error
  }
}

/** Refuses to take the place of a task that runs but could not be adopted. */
async function requireFree(node: Node, bundle: Bundle): Promise<void> {
  if (!existsSync(bundle.path)) return
  const running = await shimsOf(node.deps.grpcAddress, bundle, servingShims(node))
  if (running.length > 0) throw unavailable(`the shim of task ${bundle.id} does not answer`)
}

/** The shim of a sandbox that the caller or the container names, instead of one to start. */
function given(
  node: Node,
  namespace: string,
  container: Container | undefined,
  { taskApiAddress, taskApiVersion }: { taskApiAddress: string; taskApiVersion: number },
  options: Any | undefined,
): Bootstrap | undefined {
  const old = runcOptions(options)
  const address = taskApiAddress || old?.taskApiAddress
  if (!address) {
    const sandbox = container?.sandbox ? node.sandboxes.get(taskKey(namespace, container.sandbox)) : undefined
    return sandbox && { address: sandbox.shim.address, version: sandbox.shim.version, protocol: 'ttrpc' }
  }
  return { address, version: taskApiVersion || old?.taskApiVersion || 2, protocol: 'ttrpc' }
}

/**
 * The directory to restore from. An unpacked checkpoint becomes the task's own and goes with it; a directory that the
 * options name stays its owner's.
 */
async function takeCheckpoint(bundle: Bundle, path: string, options: Any | undefined): Promise<string> {
  if (path === '') return runcOptions(options)?.criuImagePath ?? ''
  const mine = join(bundle.work, 'checkpoint')
  try {
    await rename(path, mine)
  } catch (error) {
    if (errnoOf(error) !== 'EXDEV') throw error
    await cp(path, mine, { recursive: true })
    await rm(path, { recursive: true })
  }
  return mine
}

/** Whether the shim itself said no, as opposed to a call that was cut with its outcome unknown. */
function isRefusal(error: unknown): boolean {
  const cut = [status.CANCELLED, status.DEADLINE_EXCEEDED, status.UNAVAILABLE]
  return !cut.some((code) => hasCode(error, code))
}
