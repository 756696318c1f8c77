import { randomUUID } from 'node:crypto'
import { failedPrecondition, notFound, status } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import { readImage } from './image.ts'
import { ignoring, type Process, processOf } from './process.ts'
import { hostPlatform } from './pull.ts'
import type { Spec } from './spec.ts'
import { openStdio } from './stdio.ts'
import { findUser, type User } from './users.ts'

export interface ExecOptions extends CallSettings {
  /** Of a container whose task runs. */
  readonly container: string
  readonly args: readonly string[]
  /** `NAME=value`, beside those of the container. */
  readonly env?: readonly string[] | undefined
  readonly cwd?: string | undefined
  /** `USER[:GROUP]`, numbers or names that the container's image knows; the container's unless given. */
  readonly user?: string | undefined
  readonly terminal?: boolean | undefined
  /** Whether there is an input. */
  readonly stdin?: boolean | undefined
}

/**
 * Starts a further process in a running container. Its streams are to be read; `delete()` it when it has ended.
 *
 * @example
 * const process = await exec(client, { container: 'web', args: ['cat', '/etc/hostname'] })
 * console.log(await text(process.stdout), (await process.wait()).code)
 * await process.delete()
 */
export async function exec(client: Client, options: ExecOptions): Promise<Process> {
  const { container: containerId, terminal = false, stdin = false, signal, timeout, metadata } = options
  if (options.args.length === 0) throw failedPrecondition('a command is needed')
  const settings: CallSettings = { signal, timeout, metadata }
  const calls = client.with({ namespace: options.namespace ?? client.options.namespace })
  const { container } = await calls.containers.get({ id: containerId }, settings)
  if (container === undefined) throw notFound(`container "${containerId}"`)
  const spec = JSON.parse(Buffer.from(container.spec?.value ?? []).toString('utf8')) as Spec
  const process = {
    ...spec.process,
    args: [...options.args],
    env: [...spec.process.env, ...(options.env ?? [])],
    cwd: options.cwd ?? spec.process.cwd,
    terminal,
    ...(options.user === undefined ? {} : { user: await userIn(calls, container.image, options.user, settings) }),
  }
  const execId = randomUUID()
  await using undo = new AsyncDisposableStack()
  const stdio = undo.use(await openStdio(calls, { stdin, terminal }, { signal }))
  await calls.tasks.exec(
    {
      containerId,
      execId,
      terminal,
      ...stdio.paths,
      spec: {
        typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
        value: Buffer.from(JSON.stringify(process)),
      },
    },
    settings,
  )
  undo.defer(() => ignoring(status.NOT_FOUND, () => calls.tasks.deleteProcess({ containerId, execId })))
  const { pid } = await calls.tasks.start({ containerId, execId }, settings)
  stdio.started()
  undo.move()
  return processOf({ client: calls, containerId, execId, pid, stdio })
}

async function userIn(client: Client, image: string, user: string, settings: CallSettings): Promise<User> {
  return await findUser(client, user, () => readImage(client, image, hostPlatform, settings), settings)
}
