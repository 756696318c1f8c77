import { CheckpointOptions } from '@flotilla/api/containerd/runc/v1/runc'
import { RuntimeInfo } from '@flotilla/api/containerd/types/types'
import { type Process, Status } from '@flotilla/api/containerd/v1/types/types'
import type { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { Empty } from '@flotilla/api/google/protobuf/empty'
import { type FieldValue, parseFilters } from '@flotilla/filters'
import {
  type Call,
  failedPrecondition,
  hasCode,
  invalidArgument,
  notFound,
  requireNamespace,
  type ServiceOf,
  status,
  validateIdentifier,
} from '@flotilla/rpc'
import { checkpointFolder } from './checkpoint-folder.ts'
import { now } from './exit.ts'
import type { Node } from './node.ts'
import { buryTask, deleteTask, ensureReported } from './remove-task.ts'
import { findShimBinary } from './runtime-binary.ts'
import type { ShimTasks } from './shim.ts'
import { shimCall } from './shim-call.ts'
import { processKey, type Task, taskKey } from './task.ts'
import { waitForExit } from './wait.ts'

/** Milliseconds that a shim may take to tell the state of a process; containerd's. */
const stateTimeout = 2_000

/** Statuses in which a process cannot be deleted, as the error names them. */
const undeletable: ReadonlyMap<number, string> = new Map([
  [Status.RUNNING, 'running'],
  [Status.PAUSED, 'paused'],
  [Status.PAUSING, 'pausing'],
])

type Methods = Omit<ServiceOf<typeof NodeTasksDefinition>, 'create'>

/** What can be asked of tasks that are there. Everything is the shim's to do; its errors pass as they are. */
export function runningTasks(node: Node): Methods {
  const { deps, searchPath, tasks } = node

  /** The task that a call is about. NOT_FOUND when there is none. */
  function taskOf(call: Call, id: string): Task {
    const task = tasks.get(taskKey(requireNamespace(call), id))
    if (!task) throw notFound(`task ${id} not found`)
    return task
  }

  /** Asks a task's shim. A task whose shim turns out to be dead is one that is not there. */
  async function ask<T>(task: Task, call: Call, question: (shim: ShimTasks, call: Call) => Promise<T>): Promise<T> {
    try {
      return await question(task.shim.tasks, shimCall(task.namespace, call))
    } catch (error) {
      if (!hasCode(error, status.UNAVAILABLE) || (await task.shim.alive())) throw error
      throw notFound(`task ${task.id} not found`, { cause: error })
    }
  }

  async function stateOf(task: Task, execId: string, call: Call): Promise<Process> {
    const deadline = Math.min(call.deadline ?? Number.POSITIVE_INFINITY, Date.now() + stateTimeout)
    const state = await ask(task, { ...call, deadline }, (shim, onward) => shim.state({ id: task.id, execId }, onward))
    const { exitedAt, exitStatus, pid, stderr, stdin, stdout, terminal } = state
    const id = execId || task.id
    return { containerId: '', id, pid, status: state.status, stdin, stdout, stderr, terminal, exitStatus, exitedAt }
  }

  const inNamespace = (namespace: string) => [...tasks.values()].filter((task) => task.namespace === namespace)

  const requireStopped = ({ status }: Process) => {
    const name = undeletable.get(status)
    if (name !== undefined) throw failedPrecondition(`task must be stopped before deletion: ${name}`)
  }

  return {
    async start({ containerId, execId }, call) {
      const task = taskOf(call, containerId)
      const begun = Date.now()
      const answer = await ask(task, call, (shim, onward) => shim.start({ id: task.id, execId }, onward))
      const process = task.record.processes.get(execId)
      if (process && execId !== '') {
        if (!process.exit) node.ledger.forgetBefore({ ...task.bundle, execId, pid: answer.pid }, begun)
        if (tasks.get(taskKey(task.namespace, task.id)) === task) task.record.started(execId, answer.pid)
      }
      return { pid: answer.pid }
    },

    async delete({ containerId }, call) {
      const key = taskKey(requireNamespace(call), containerId)
      return await node.lock.run(
        key,
        async () => {
          const task = taskOf(call, containerId)
          const answer = (exit: { pid: number; status: number; at: ReturnType<typeof now> } | undefined) => ({
            id: '',
            pid: exit?.pid ?? 0,
            exitStatus: exit?.status ?? 255,
            exitedAt: exit?.at,
          })
          try {
            if (!task.deleted) requireStopped(await stateOfOrGone(task, call))
            // From here on it is finished even if the caller leaves.
            return answer(await deleteTask(node, task))
          } catch (error) {
            if (task.deleted || (await task.shim.alive())) throw error
            return answer(await buryTask(node, task))
          }
        },
        call.signal,
      )
    },

    async deleteProcess({ containerId, execId }, call) {
      const task = taskOf(call, containerId)
      if (execId === '') throw invalidArgument('exec id cannot be empty')
      requireStopped(await stateOf(task, execId, call))
      const answer = await ask(task, call, (shim, onward) => shim.delete({ id: task.id, execId }, onward))
      const process = task.record.processes.get(execId)
      const exit = { pid: answer.pid, status: answer.exitStatus, at: answer.exitedAt ?? now() }
      process?.end(exit)
      task.waits.delete(execId)
      // Its report must not come when the id is already another process's, which it would seem to end.
      const key = processKey(task.bundle, execId, answer.pid)
      if (answer.pid !== 0) await ensureReported(node, { end: 'exit', key, exit })
      if (process) task.record.removed(execId)
      return { id: execId, pid: answer.pid, exitStatus: answer.exitStatus, exitedAt: answer.exitedAt }
    },

    async get({ containerId, execId }, call) {
      return { process: await stateOf(taskOf(call, containerId), execId, call) }
    },

    async list(_request, call) {
      const found = await Promise.all(
        inNamespace(requireNamespace(call)).map(async (task) => {
          try {
            return await stateOf(task, '', call)
          } catch (err) {
            if (call.signal.aborted) throw call.signal.reason
            if (hasCode(err, status.NOT_FOUND)) return undefined
            deps.logger.warn({ err, namespace: task.namespace, id: task.id }, 'the shim does not tell its state')
            return { ...silent, id: task.id, pid: task.record.init?.pid ?? 0 }
          }
        }),
      )
      return { tasks: found.filter((process) => process !== undefined) }
    },

    async kill({ all, containerId, execId, signal }, call) {
      const task = taskOf(call, containerId)
      return await ask(task, call, (shim, onward) => shim.kill({ id: task.id, execId, signal, all }, onward))
    },

    async exec(request, call) {
      const { containerId, execId, spec, stderr, stdin, stdout, terminal } = request
      if (execId === '') throw invalidArgument('exec id cannot be empty')
      const task = taskOf(call, containerId)
      validateIdentifier(execId, `invalid exec id ${execId}: `)
      // On record before the shim has it, so that no process can be forgotten.
      const fresh = !task.record.processes.has(execId)
      if (fresh) task.record.made(execId)
      try {
        await ask(task, call, (shim, onward) =>
          shim.exec({ id: task.id, execId, terminal, stdin, stdout, stderr, spec }, onward),
        )
      } catch (error) {
        if (fresh && tasks.get(taskKey(task.namespace, task.id)) === task) task.record.removed(execId)
        throw error
      }
      return Empty.create()
    },

    async resizePty({ containerId, execId, height, width }, call) {
      const task = taskOf(call, containerId)
      return await ask(task, call, (shim, onward) => shim.resizePty({ id: task.id, execId, width, height }, onward))
    },

    async closeIO({ containerId, execId, stdin }, call) {
      const task = taskOf(call, containerId)
      if (!stdin) return Empty.create()
      return await ask(task, call, (shim, onward) => shim.closeIO({ id: task.id, execId, stdin }, onward))
    },

    async pause({ containerId }, call) {
      const task = taskOf(call, containerId)
      return await ask(task, call, (shim, onward) => shim.pause({ id: task.id }, onward))
    },

    async resume({ containerId }, call) {
      const task = taskOf(call, containerId)
      return await ask(task, call, (shim, onward) => shim.resume({ id: task.id }, onward))
    },

    async listPids({ containerId }, call) {
      const task = taskOf(call, containerId)
      const { processes } = await ask(task, call, (shim, onward) => shim.pids({ id: task.id }, onward))
      return { processes }
    },

    async checkpoint({ request }, call) {
      const task = taskOf(call, request?.containerId ?? '')
      const options = request?.options
      const given = options?.typeUrl.endsWith('containerd.runc.v1.CheckpointOptions')
        ? CheckpointOptions.decode(options.value).imagePath
        : ''
      const path = given || (await checkpointFolder(deps.root))
      await ask(task, call, (shim, onward) => shim.checkpoint({ id: task.id, path, options }, onward))
      return { path }
    },

    async update({ annotations, containerId, resources }, call) {
      const task = taskOf(call, containerId)
      return await ask(task, call, (shim, onward) => shim.update({ id: task.id, resources, annotations }, onward))
    },

    async metrics({ filters }, call) {
      const namespace = requireNamespace(call)
      const matcher = parseFilters(filters)
      const wanted = inNamespace(namespace).filter((task) => matcher.matchesAll || matcher.matches(fieldsOf(task)))
      const metrics = await Promise.all(
        wanted.map(async (task) => {
          const timestamp = now()
          try {
            const { stats } = await ask(task, call, (shim, onward) => shim.stats({ id: task.id }, onward))
            return { timestamp, id: task.id, data: stats }
          } catch (err) {
            if (call.signal.aborted) throw call.signal.reason
            const expected = hasCode(err, status.NOT_FOUND)
            deps.logger[expected ? 'debug' : 'warn']({ err, namespace, id: task.id }, 'no metrics of a task')
            return undefined
          }
        }),
      )
      return { metrics: metrics.filter((metric) => metric !== undefined) }
    },

    async wait(command, call) {
      const namespace = requireNamespace(call)
      const exit = await waitForExit(node, namespace, command, call)
      return { exited: exit !== undefined, exitStatus: exit?.status ?? 0, exitedAt: exit?.at }
    },

    async runtimeInfo({ options, runtimePath }, call) {
      const runtime = runtimePath || 'io.containerd.runc.v2'
      const binary = await findShimBinary(runtime, searchPath, deps.publishBinary)
      const info = await node.binaries.info(binary, options, call.signal)
      return {
        info: { typeUrl: 'containerd.types.RuntimeInfo', value: Buffer.from(RuntimeInfo.encode(info).finish()) },
      }
    },
  }

  /** The state before a delete; a shim that has no such process any more was deleted from before. */
  async function stateOfOrGone(task: Task, call: Call): Promise<Process> {
    try {
      return await stateOf(task, '', call)
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND) && (await task.shim.alive())) return { ...silent, status: Status.STOPPED }
      throw error
    }
  }
}

/** A process whose shim says nothing. */
const silent: Process = {
  containerId: '',
  id: '',
  pid: 0,
  status: Status.UNKNOWN,
  stdin: '',
  stdout: '',
  stderr: '',
  terminal: false,
  exitStatus: 0,
  exitedAt: undefined,
}

/** Fields `id` and `namespace`. */
function fieldsOf(task: Task) {
  return ([name]: readonly string[]): FieldValue => {
    const value = name === 'id' ? task.id : name === 'namespace' ? task.namespace : ''
    return { value, present: value !== '' }
  }
}
