import { randomUUID } from 'node:crypto'
import { failedPrecondition, hasCode, status } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import { readImage } from './image.ts'
import { ignoring, type Process, processOf } from './process.ts'
import { hostPlatform } from './pull.ts'
import { type Mount, type Spec, specOf } from './spec.ts'
import { openStdio, type Stdio } from './stdio.ts'
import { findUser } from './users.ts'

export interface RunOptions extends CallSettings {
  /** Of an image that is in the store; see {@link pull}. */
  readonly image: string
  /** Of the container; made up unless given. */
  readonly id?: string | undefined
  /** Instead of the image's command. */
  readonly args?: readonly string[] | undefined
  /** `NAME=value` */
  readonly env?: readonly string[] | undefined
  readonly cwd?: string | undefined
  /** `USER[:GROUP]`, numbers or names that the image knows; the image's unless given. */
  readonly user?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly mounts?: readonly Mount[] | undefined
  readonly hostname?: string | undefined
  readonly hostNetwork?: boolean | undefined
  /** Gives the process a terminal, with one output. */
  readonly terminal?: boolean | undefined
  /** `attach`: its streams are the process's; `log`: its output goes to a log on the node; `none`: nowhere. */
  readonly output?: 'attach' | 'log' | 'none' | undefined
  /** With `attach`: whether there is an input. */
  readonly stdin?: boolean | undefined
  readonly platform?: string | undefined
  readonly snapshotter?: string | undefined
  readonly runtime?: string | undefined
  /** Changes the specification before it is used. */
  readonly adjust?: ((spec: Spec) => void) | undefined
}

/** A container that runs, and its first process. */
export interface Container extends Process {
  readonly id: string
  /** Where it runs. */
  readonly node: string
  /** Ends the task if it runs, and removes task, container and snapshot. */
  remove(): Promise<void>
}

/**
 * Makes a container from an image and starts it. What was made is undone when a step fails.
 *
 * @example
 * const container = await run(client, { image: 'docker.io/library/busybox:latest', args: ['echo', 'hello'] })
 * for await (const piece of container.stdout ?? []) process.stdout.write(piece)
 * console.log((await container.wait()).code)
 * await container.remove()
 */
export async function run(client: Client, options: RunOptions): Promise<Container> {
  const id = options.id ?? randomUUID()
  const snapshotter = options.snapshotter ?? 'overlayfs'
  const { signal, timeout, metadata } = options
  const settings: CallSettings = { signal, timeout, metadata }
  const chosen = client.with({
    namespace: options.namespace ?? client.options.namespace,
    node: options.node ?? client.options.node,
  })
  const image = await readImage(chosen, options.image, options.platform ?? hostPlatform, settings)
  const user = await findUser(chosen, options.user ?? image.config.User ?? '', async () => image, settings)
  const lease = await temporaryLease(chosen, settings)
  const calls = options.lease === undefined ? chosen.with({ lease }) : chosen.with({ lease: options.lease })
  await using undo = new AsyncDisposableStack()
  try {
    await prepare(calls, { key: id, parent: image.chainId, snapshotter, image: options.image }, settings)
    undo.defer(() => ignoring(status.NOT_FOUND, () => calls.snapshots.remove({ snapshotter, key: id })))
    const spec = specOf({
      ...options,
      id,
      namespace: calls.options.namespace ?? 'default',
      image: image.config,
      user,
      terminal: options.terminal === true,
    })
    options.adjust?.(spec)
    const { container } = await calls.containers.create(
      {
        container: {
          id,
          labels: { ...image.config.Labels, ...options.labels },
          image: options.image,
          runtime: { name: options.runtime ?? 'io.containerd.runc.v2' },
          spec: {
            typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
            value: Buffer.from(JSON.stringify(spec)),
          },
          snapshotter,
          snapshotKey: id,
        },
      },
      settings,
    )
    undo.defer(() => ignoring(status.NOT_FOUND, () => calls.containers.delete({ id })))
    const node = container?.labels['flotilla.io/node'] ?? ''
    const there = node === '' ? calls : calls.with({ node })
    const stdio = await outputOf(there, id, options, settings)
    if (stdio.streams) undo.use(stdio.streams)
    const { mounts } = await there.snapshots.mounts({ snapshotter, key: id }, settings)
    const { pid } = await there.tasks.create(
      { containerId: id, rootfs: mounts, terminal: options.terminal === true, ...stdio.paths },
      settings,
    )
    undo.defer(() => ignoring(status.NOT_FOUND, () => endTask(there, id)))
    await there.tasks.start({ containerId: id }, settings)
    stdio.streams?.started()
    undo.move()
    // What the lease was for is done.
    const later = node === '' ? chosen : chosen.with({ node })
    return containerOf(later, { id, node, pid, snapshotter, stdio: stdio.streams })
  } finally {
    if (lease !== '') await chosen.leases.delete({ id: lease, sync: false }).catch(() => {})
  }
}

interface Made {
  readonly id: string
  readonly node: string
  readonly pid: number
  readonly snapshotter: string
  readonly stdio: Stdio | undefined
}

function containerOf(client: Client, { id, node, pid, snapshotter, stdio }: Made): Container {
  const process = processOf({ client, containerId: id, execId: '', pid, stdio })
  return {
    ...process,
    id,
    node,
    async remove() {
      await ignoring(status.NOT_FOUND, () => endTask(client, id))
      await process.delete()
      await ignoring(status.NOT_FOUND, () => client.containers.delete({ id }))
      await ignoring(status.NOT_FOUND, () => client.snapshots.remove({ snapshotter, key: id }))
    },
  }
}

/** Kills a task and waits for its end. */
export async function endTask(client: Client, containerId: string): Promise<void> {
  await ignoring(status.NOT_FOUND, () => client.tasks.kill({ containerId, signal: 9, all: true }))
  await client.tasks.wait({ containerId })
  await client.tasks.delete({ containerId })
}

async function prepare(
  client: Client,
  { key, parent, snapshotter, image }: { key: string; parent: string; snapshotter: string; image: string },
  settings: CallSettings,
): Promise<void> {
  try {
    await client.snapshots.prepare({ snapshotter, key, parent }, settings)
  } catch (error) {
    if (!hasCode(error, status.NOT_FOUND)) throw error
    throw failedPrecondition(`image "${image}" is not unpacked for ${snapshotter}: pull it`, { cause: error })
  }
}

/** Keeps what is made from collection until the container names it; goes by itself should we not get to remove it. */
async function temporaryLease(client: Client, settings: CallSettings): Promise<string> {
  const id = `run-${randomUUID()}`
  const expires = new Date(Date.now() + 3_600_000).toISOString()
  await client.leases.create({ id, labels: { 'containerd.io/gc.expire': expires } }, settings)
  return id
}

async function outputOf(client: Client, containerId: string, options: RunOptions, settings: CallSettings) {
  const { output = 'attach', terminal = false, stdin = false } = options
  if (output === 'none') return { paths: {}, streams: undefined }
  if (output === 'log') {
    const { uri } = await client.logs.prepare({ containerId }, settings)
    return { paths: { stdout: uri, stderr: terminal ? '' : uri }, streams: undefined }
  }
  const streams = await openStdio(client, { stdin, terminal }, { signal: settings.signal })
  return { paths: streams.paths, streams }
}
