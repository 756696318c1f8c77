import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeCall } from '@flotilla/rpc'
import { socketPath } from './bootstrap.ts'
import type { Bundle } from './bundle.ts'
import { type Exit, isSet, now } from './exit.ts'
import type { End, ProcessKey } from './ledger.ts'
import { type Node, servingShims } from './node.ts'
import { removeTaskBundle } from './rootfs-mounts.ts'
import { removeRuncRests } from './runc-rests.ts'
import type { Shim } from './shim.ts'
import { kill, killShims, shimsOf } from './shim-processes.ts'
import { processKey, type Remains, type Task, taskKey } from './task.ts'

/** Milliseconds that a shim may take to end once it was told to. */
const shutdownTimeout = 3_000

/** Milliseconds in which a shim that answered a delete should have sent the events that go with it. */
const eventPatience = 2_000

/** Milliseconds for the calls that clean up after a failure. */
const cleanupTimeout = 10_000

/** Status of a process of which nobody knows how it ended; containerd's. */
const unknownStatus = 255

/** Whether a shim hosts a sandbox other than the one that is about to go: it ends with the sandbox, not with its tasks. */
function isOfSandbox(node: Node, shim: Shim, bundle: Bundle): boolean {
  const all = [...node.sandboxes.values()]
  return all.some((sandbox) => sandbox.bundle.path !== bundle.path && sandbox.shim.address === shim.address)
}

/**
 * Whether another task or a sandbox has the same shim, as the containers of a pod have. The task may itself be in the
 * table or not.
 */
function isShared(node: Node, shim: Shim, bundle: Bundle): boolean {
  if (isOfSandbox(node, shim, bundle)) return true
  for (const task of node.tasks.values()) {
    const same = task.namespace === bundle.namespace && task.id === bundle.id
    if (!same && task.shim.address === shim.address) return true
  }
  return false
}

/** Tells a shim to end and makes sure that it does, unless others need it. */
export async function endShim(node: Node, shim: Shim, bundle: Bundle): Promise<void> {
  const { id, namespace } = bundle
  if (isOfSandbox(node, shim, bundle)) return shim[Symbol.dispose]()
  // It may close the connection before its answer is out; what counts is that it ends.
  await shim.tasks.shutdown({ id, now: false }, makeCall({ namespace, timeout: shutdownTimeout })).catch(() => {})
  if (isShared(node, shim, bundle)) return shim[Symbol.dispose]()
  const ended = () => Promise.race([shim.ended.then(() => true), sleep(shutdownTimeout, false, { ref: false })])
  if (!(await ended())) {
    if (isShared(node, shim, bundle)) return shim[Symbol.dispose]()
    node.deps.logger.warn({ namespace, id, pid: shim.pid }, 'the shim does not end by itself and is killed')
    kill(shim.pid)
    await ended()
  }
  shim[Symbol.dispose]()
  await rm(socketPath(shim.address), { force: true })
}

/** An end of which a shim's own report may still be under way. */
export interface ExpectedEnd {
  readonly end: End
  readonly key: ProcessKey
  readonly exit: Exit
}

/** Sees to it that ends are on disk: waits a while for the shim to report them, then reports them itself. */
export async function ensureReported(node: Node, { end, exit, key }: ExpectedEnd): Promise<void> {
  if (!(await node.ledger.wait(end, key, eventPatience))) await node.recorder.synthesize(end, key, exit)
}

/** Exits of execs that nobody was told of yet, as the shim has them. They are asked for before the task goes. */
async function unreportedExits(node: Node, task: Task): Promise<ExpectedEnd[]> {
  const { bundle, id, namespace } = task
  const unreported: ExpectedEnd[] = []
  for (const [execId, { pid }] of task.record.processes) {
    const key = processKey(bundle, execId, pid)
    if (execId === '' || pid === 0 || node.ledger.has('exit', key)) continue
    const call = makeCall({ namespace, timeout: cleanupTimeout })
    const state = await task.shim.tasks.state({ id, execId }, call).catch(() => undefined)
    if (isSet(state?.exitedAt))
      unreported.push({ end: 'exit', key, exit: { pid, status: state.exitStatus, at: state.exitedAt } })
  }
  return unreported
}

/**
 * Deletes a stopped task: at its shim, then the shim, then the bundle, once its exit and its deletion are in the
 * journal. May be called again when it failed half-way. The caller holds the lock.
 */
export async function deleteTask(node: Node, task: Task): Promise<Exit> {
  const { bundle, id, namespace } = task
  const ends: ExpectedEnd[] = []
  if (!task.deleted) {
    ends.push(...(await unreportedExits(node, task)))
    const answer = await task.shim.tasks.delete(
      { id, execId: '' },
      makeCall({ namespace, timeout: 3 * cleanupTimeout }),
    )
    const pid = answer.pid || (task.record.init?.pid ?? 0)
    task.deleted = { pid, status: answer.exitStatus, at: answer.exitedAt ?? now() }
  }
  const exit = task.deleted
  const key = processKey(bundle, '', exit.pid)
  ends.push({ end: 'exit', key, exit })
  await Promise.all(ends.map((end) => ensureReported(node, end)))
  await ensureReported(node, { end: 'delete', key, exit })
  task.ending = true
  await endShim(node, task.shim, bundle)
  // Our end may have cut an earlier attempt short.
  if (task.adopted) await removeRuncRests(node.deps.state, bundle)
  await removeTaskBundle(node, bundle)
  node.tasks.delete(taskKey(namespace, id))
  task.removed()
  return exit
}

/**
 * Removes what a dead shim left, and reports how its processes ended: as was known, else as the shim's binary finds
 * out. Answers the exit of the first process. The caller holds the lock.
 */
export async function removeRemains(node: Node, { binary, bundle, record }: Remains): Promise<Exit | undefined> {
  const { id, namespace } = bundle
  const found =
    binary === undefined
      ? undefined
      : await node.binaries.delete(binary, bundle).catch((err: unknown) => {
          node.deps.logger.error({ err, namespace, id }, 'the shim cannot clean up')
          return undefined
        })
  const at = isSet(found?.exitedAt) ? found.exitedAt : now()
  const status = found?.exitStatus ?? unknownStatus
  let last: Exit | undefined
  if (record.init) {
    const execs = [...record.processes].filter(([execId]) => execId !== '')
    for (const [execId, process] of [...execs, ['', record.init] as const]) {
      const pid = process.pid || (execId === '' ? (found?.pid ?? 0) : 0)
      if (pid === 0 && execId !== '') continue
      const key = processKey(bundle, execId, pid)
      last = node.ledger.exitOf(key) ?? process.exit ?? { pid, status, at }
      await node.recorder.synthesize('exit', key, last)
      process.end(last)
    }
    if (last) await node.recorder.synthesize('delete', processKey(bundle, '', last.pid), last)
  }
  await removeRuncRests(node.deps.state, bundle)
  await removeTaskBundle(node, bundle)
  return last
}

/** Removes a task whose shim died. The caller holds the lock. */
export async function buryTask(node: Node, task: Task): Promise<Exit | undefined> {
  const { bundle, id, namespace } = task
  task.ending = true
  node.deps.logger.warn({ namespace, id, pid: task.shim.pid }, 'the shim is gone; removing its task')
  const exit = await removeRemains(node, task)
  if (!isShared(node, task.shim, bundle)) await rm(socketPath(task.shim.address), { force: true })
  node.tasks.delete(taskKey(namespace, id))
  task.removed()
  return exit
}

/**
 * Undoes a task that nobody was told of: its container, its shim, its mounts, its bundle. `clean` says that the shim
 * holds nothing, since it refused to make it or was not asked yet. The caller holds the lock.
 */
export async function undoTask(node: Node, remains: Remains, shim: Shim | undefined, clean: boolean): Promise<void> {
  const { binary, bundle } = remains
  const { id, namespace } = bundle
  if (shim) {
    if (!clean) {
      const call = () => makeCall({ namespace, timeout: cleanupTimeout })
      await shim.tasks.kill({ id, execId: '', signal: 9, all: true }, call()).catch(() => {})
      await shim.tasks.wait({ id, execId: '' }, call()).catch(() => {})
      await shim.tasks.delete({ id, execId: '' }, call()).catch(() => {})
    }
    await endShim(node, shim, bundle)
  } else {
    const { grpcAddress } = node.deps
    await killShims(grpcAddress, await shimsOf(grpcAddress, bundle, servingShims(node)))
  }
  // Also after a refusal: a shim that fails once runc has made the container forgets it.
  if (binary !== undefined) {
    await node.binaries.delete(binary, bundle).catch((err: unknown) => {
      node.deps.logger.debug({ err, namespace, id }, 'nothing for the shim to clean up')
    })
  }
  await removeRuncRests(node.deps.state, bundle)
  await removeTaskBundle(node, bundle)
}
