import { readdir, rm } from 'node:fs/promises'
import type { StateResponse } from '@flotilla/api/containerd/task/v3/task'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { hasCode, makeCall, status } from '@flotilla/rpc'
import { adoptSandboxes } from './adopt-sandboxes.ts'
import { type Bootstrap, readBootstrap, socketPath } from './bootstrap.ts'
import { type Bundle, listBundles, readBundleFile, removeBundle, removeRests } from './bundle.ts'
import { now } from './exit.ts'
import { followShimLog, type Node, servingShims } from './node.ts'
import { ProcessRecord, type TaskProcess } from './process-record.ts'
import { deleteTask, removeRemains, undoTask } from './remove-task.ts'
import { Shim } from './shim.ts'
import { awaitHelpers, killShims, shimProcesses, shimsOf } from './shim-processes.ts'
import { processKey, type Remains, Task, taskKey } from './task.ts'
import { watchShim } from './watch-shim.ts'

/** Milliseconds that a shim may take to tell the state of a process. */
const stateTimeout = 5_000

/** Milliseconds that a helper of our former life may take to end. */
const helperPatience = 10_000

/** Bundles that are looked at side by side. */
const parallel = 8

/**
 * Takes over what an earlier life of this program left on the node: tasks that run or have ended go on as they were,
 * with exits that nobody reported; what was half made or half removed is undone or finished; shims without a task are
 * ended.
 */
export async function adoptTasks(node: Node): Promise<void> {
  const { grpcAddress, logger } = node.deps
  await awaitHelpers(grpcAddress, helperPatience)
  // First, since the shims of sandboxes serve tasks.
  await adoptSandboxes(node)
  const bundles = await listBundles(node.roots)
  const worker = async () => {
    for (let bundle = bundles.pop(); bundle; bundle = bundles.pop()) {
      const { id, namespace } = bundle
      try {
        const fate = await adopt(node, bundle)
        logger.info({ namespace, id }, fate)
      } catch (err) {
        logger.error({ err, namespace, id }, 'a task of an earlier run can be neither adopted nor removed')
      }
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  await removeRests(node.roots)
  await killStrays(node)
}

async function adopt(node: Node, bundle: Bundle): Promise<string> {
  if ((await readdir(bundle.path)).length === 0) {
    await removeBundle(bundle)
    return 'removed an empty bundle'
  }
  const record = ProcessRecord.load(bundle)
  const binary = await readBundleFile(bundle, 'shim-binary-path')
  const remains = { binary, bundle, record }
  // The container may have been told to its caller only once the record has its first process.
  for (const [execId, { exit, pid }] of record.processes) {
    const key = processKey(bundle, execId, pid)
    if (exit && node.ledger.note('exit', key, exit, false)) node.ledger.settled('exit', key)
  }
  const bootstrap = await readBootstrap(bundle)
  const shim = bootstrap && (await reach(node, bootstrap, remains))
  if (!shim || binary === undefined) {
    if (record.init) {
      await removeRemains(node, remains)
      return 'its shim is gone; removed the task'
    }
    await undoTask(node, remains, undefined, false)
    return 'undid a task that was never made'
  }

  const answer = await stateOf(shim, bundle, '')
  if (!record.init) {
    await undoTask(node, remains, shim, answer === 'none')
    return 'undid a task that nobody was told of'
  }
  const task = new Task({ adopted: true, binary, bundle, log: followShimLog(node, bundle), record, shim })
  const key = taskKey(bundle.namespace, bundle.id)
  node.tasks.set(key, task)
  if (answer === 'none') {
    const { pid } = record.init
    task.deleted = node.ledger.exitOf(processKey(bundle, '', pid)) ?? { pid, status: 255, at: now() }
    await deleteTask(node, task)
    return 'finished the deletion of a task'
  }
  watchShim(node, task)
  if (answer === 'silent') {
    void reportLate(node, task)
    return 'adopted a task whose shim does not answer now'
  }
  await reportExits(node, task, answer)
  return `adopted a task, process ${answer.pid}`
}

/** Reports the exits of a task that happened while nobody listened; `state` is that of its first process. */
async function reportExits(node: Node, task: Task, state: StateResponse): Promise<void> {
  const { bundle, record } = task
  if (record.init) await reportExit(node, bundle, '', record.init, state)
  for (const [execId, process] of record.processes) if (execId !== '') await adoptExec(node, task, execId, process)
}

/** Does that once a shim answers again that did not at the start. */
async function reportLate(node: Node, task: Task): Promise<void> {
  const { id, namespace } = task
  try {
    await reportExits(node, task, await task.shim.tasks.state({ id, execId: '' }, makeCall({ namespace })))
  } catch (err) {
    node.deps.logger.debug({ err, namespace, id }, 'the shim went without an answer')
  }
}

/**
 * The shim of a bundle; undefined when nobody listens at its address, and for one that is stuck in the making of a task
 * that nobody was told of: when our end breaks its connection, it kills the runc that it runs and may wait for ever for
 * what that left.
 */
async function reach(node: Node, bootstrap: Bootstrap, { bundle, record }: Remains): Promise<Shim | undefined> {
  const { id, namespace } = bundle
  try {
    return await Shim.connect(bootstrap, namespace, id)
  } catch (error) {
    if (hasCode(error, status.UNAVAILABLE)) {
      // A shim that was killed leaves its socket.
      await rm(socketPath(bootstrap.address), { force: true })
      return undefined
    }
    if (!hasCode(error, status.DEADLINE_EXCEEDED)) throw error
    if (!record.init) return undefined
    const [shim] = await shimsOf(node.deps.grpcAddress, bundle, servingShims(node))
    if (!shim) throw error
    return await Shim.connectUnasked(bootstrap, namespace, id, shim.pid)
  }
}

/** What the shim says of a process: its state, that there is none, or nothing in time. */
async function stateOf(
  shim: Shim,
  { id, namespace }: Bundle,
  execId: string,
): Promise<StateResponse | 'none' | 'silent'> {
  try {
    return await shim.tasks.state({ id, execId }, makeCall({ namespace, timeout: stateTimeout }))
  } catch (error) {
    if (hasCode(error, status.NOT_FOUND)) return 'none'
    return 'silent'
  }
}

/** Reports an exit that happened while nobody listened. */
async function reportExit(
  node: Node,
  bundle: Bundle,
  execId: string,
  process: TaskProcess,
  state: StateResponse,
): Promise<void> {
  if (state.status !== Status.STOPPED) return
  const pid = process.pid || state.pid
  const exit = { pid, status: state.exitStatus, at: state.exitedAt ?? now() }
  await node.recorder.synthesize('exit', processKey(bundle, execId, pid), exit)
  process.end(exit)
}

async function adoptExec(node: Node, task: Task, execId: string, process: TaskProcess): Promise<void> {
  const state = await stateOf(task.shim, task.bundle, execId)
  if (state === 'silent') return
  if (state === 'none') {
    // It was deleted, or never added, in the moment that we went away.
    task.record.removed(execId)
    return
  }
  if (process.pid === 0 && state.pid !== 0) task.record.started(execId, state.pid)
  await reportExit(node, task.bundle, execId, process, state)
}

/** Ends shims of ours that serve no task and have no bundle: it went before they did. */
async function killStrays(node: Node): Promise<void> {
  const { grpcAddress, logger } = node.deps
  const serving = servingShims(node)
  // One that could not be adopted keeps its bundle, and may only be slow.
  const bundles = [...(await listBundles(node.roots)), ...(await listBundles(node.sandboxRoots))]
  const kept = new Set(bundles.map(({ id, namespace }) => taskKey(namespace, id)))
  const strays = (await shimProcesses(grpcAddress)).filter(
    ({ id, namespace, pid }) => !serving.has(pid) && !kept.has(taskKey(namespace, id)),
  )
  if (strays.length === 0) return
  logger.warn({ strays }, 'ending shims without a task')
  await killShims(grpcAddress, strays)
}
