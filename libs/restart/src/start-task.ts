import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { CreateTaskRequest } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { type Call, hasCode, status } from '@flotilla/rpc'
import type { RestartDeps } from './deps.ts'
import { restartLabels } from './labels.ts'

/** Where the output of a container that is started again goes; empty for nowhere. */
export function logUriOf(labels: Readonly<Record<string, string>>): string {
  const uri = labels[restartLabels.logUri] ?? ''
  const path = labels[restartLabels.logPath] ?? ''
  return uri === '' && path !== '' ? new URL(`file://${path}`).href : uri
}

function hasTerminal(container: Container): boolean {
  const spec = JSON.parse(Buffer.from(container.spec?.value ?? Buffer.from('{}')).toString()) as {
    process?: { terminal?: boolean }
  }
  return spec.process?.terminal ?? false
}

/** Removes what is left of the task that ended, notes the restart, and starts a new task over the same snapshot. */
export async function startTask(deps: RestartDeps, container: Container, call: Call): Promise<void> {
  const { id, labels, snapshotKey, snapshotter } = container
  const uri = logUriOf(labels)
  const terminal = hasTerminal(container)
  const count = String((Number.parseInt(labels[restartLabels.count] ?? '', 10) || 0) + 1)
  await deps.containers.update(
    {
      container: Container.fromPartial({ id, labels: { [restartLabels.count]: count } }),
      updateMask: [`labels.${restartLabels.count}`],
    },
    call,
  )
  // Refused for one that runs: somebody was faster.
  await deps.tasks.delete({ containerId: id }, call).catch(exceptNotFound)
  const rootfs = snapshotKey === '' ? [] : (await deps.snapshots.mounts({ snapshotter, key: snapshotKey }, call)).mounts
  const output = { stdout: uri, stderr: terminal ? '' : uri, terminal: terminal && uri !== '' }
  await deps.tasks.create(CreateTaskRequest.fromPartial({ containerId: id, rootfs, ...output }), call)
  await deps.tasks.start({ containerId: id, execId: '' }, call)
}

/** Kills a task that should be stopped, and removes it. */
export async function stopTask(deps: RestartDeps, { id }: Container, call: Call): Promise<void> {
  const of = { containerId: id, execId: '' }
  await deps.tasks.kill({ ...of, signal: 9, all: true }, call).catch(exceptNotFound)
  await deps.tasks.wait(of, call).catch(exceptNotFound)
  await deps.tasks.delete({ containerId: id }, call).catch(exceptNotFound)
}

function exceptNotFound(error: unknown): void {
  if (!hasCode(error, status.NOT_FOUND)) throw error
}
