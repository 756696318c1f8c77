import { join } from 'node:path'
import { Plugin } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import type { Driver } from '@flotilla/api/flotilla/node/v1/node'
import { status } from '@flotilla/rpc'
import { hostPlatform } from './platform.ts'

/** The settings that plugin records tell of. */
export interface IntrospectionSettings {
  readonly root: string
  /** Where clients install programs. */
  readonly optPath: string
  /** What other programs serve, by type; snapshotters are told of by the node. */
  readonly proxyPlugins: ReadonlyArray<{
    readonly name: string
    readonly type: string
    readonly address: string
    readonly exports: Readonly<Record<string, string>>
    readonly capabilities: readonly string[]
  }>
  /** Whether a namespace may adopt blobs that another one has without naming it as shareable. */
  readonly sharingPolicy: 'shared' | 'isolated'
  readonly gc: {
    readonly pauseThreshold: number
    readonly deletionThreshold: number
    readonly mutationThreshold: number
    /** Milliseconds. */
    readonly scheduleDelay: number
  }
}

/** Plugin types by short names, as `requires` and clients spell them. */
const types = {
  content: 'io.containerd.content.v1',
  differ: 'io.containerd.differ.v1',
  event: 'io.containerd.event.v1',
  gc: 'io.containerd.gc.v1',
  grpc: 'io.containerd.grpc.v1',
  internal: 'io.containerd.internal.v1',
  lease: 'io.containerd.lease.v1',
  metadata: 'io.containerd.metadata.v1',
  containerMonitor: 'io.containerd.monitor.container.v1',
  taskMonitor: 'io.containerd.monitor.task.v1',
  mountManager: 'io.containerd.mount-manager.v1',
  runtime: 'io.containerd.runtime.v2',
  sandboxController: 'io.containerd.sandbox.controller.v1',
  sandboxStore: 'io.containerd.sandbox.store.v1',
  service: 'io.containerd.service.v1',
  shim: 'io.containerd.shim.v1',
  snapshotter: 'io.containerd.snapshotter.v1',
  streaming: 'io.containerd.streaming.v1',
  transfer: 'io.containerd.transfer.v1',
  warning: 'io.containerd.warning.v1',
} as const

/** What answers PluginInfo with more than its record. */
export const taskRuntime = { type: types.runtime, id: 'task' } as const

/** Services behind gRPC services, as containerd lists them beside each other. */
const services: ReadonlyArray<readonly [string, readonly string[]]> = [
  ['containers-service', [types.event, types.metadata]],
  ['content-service', [types.event, types.metadata]],
  ['diff-service', [types.differ]],
  ['images-service', [types.event, types.metadata, types.gc]],
  ['introspection-service', [types.warning]],
  ['namespaces-service', [types.event, types.metadata]],
  ['snapshots-service', [types.event, types.metadata, types.snapshotter]],
  ['tasks-service', [types.event, types.metadata, types.runtime, types.taskMonitor]],
]

/** The gRPC services of this repository, with what each needs. A service that is added to it is added here. */
const grpcServices: ReadonlyArray<readonly [string, ...string[]]> = [
  ['containers', types.service],
  ['content', types.service],
  ['diff', types.service],
  ['events', types.event],
  ['healthcheck'],
  ['images', types.service],
  ['introspection', types.service],
  ['leases', types.lease],
  ['mounts', types.mountManager],
  ['namespaces', types.service],
  ['nodes', types.metadata],
  ['sandbox-controllers', types.sandboxController, types.event],
  ['sandboxes', types.sandboxStore],
  ['snapshots', types.service],
  ['streaming', types.streaming],
  ['tasks', types.service],
  ['transfer', types.transfer, types.streaming],
  ['version'],
]

/** A driver of a node as the record of a snapshotter. The client library takes the first record that it is given. */
function snapshotter(driver: Driver): Plugin {
  return Plugin.fromPartial({
    type: types.snapshotter,
    id: driver.name,
    platforms: [hostPlatform()],
    exports: driver.exports,
    capabilities: driver.capabilities,
    // Clients tell a snapshotter that is not meant for this machine from a broken one by these words.
    ...(driver.unavailable === ''
      ? {}
      : { initErr: { code: status.UNKNOWN, message: `${driver.unavailable}: skip plugin` } }),
  })
}

/** Our own store, or the one of another program in its place. */
function contentStore({ proxyPlugins, root }: IntrospectionSettings): Parameters<typeof Plugin.fromPartial>[0] {
  const plugin = proxyPlugins.find(({ type }) => type === 'content')
  if (plugin === undefined)
    return { type: types.content, id: 'content', exports: { root: join(root, 'io.containerd.content.v1.content') } }
  const { address, capabilities, exports, name } = plugin
  return { type: types.content, id: name, exports: { address, ...exports }, capabilities: [...capabilities] }
}

/**
 * The record of every part of the daemon, each after those that it requires.
 *
 * Who looks for what: the client library for the snapshotter of a new container (capabilities `remap-ids`,
 * `only-remap-ids`, `rebase`; platforms), BuildKit for `io.containerd.runtime.v2` (platforms), nerdctl for snapshotters
 * without `init_err`, `ctr install` for the path of `opt`, operators for the exports. What containerd lists and we do not
 * is what we have no part for: CRI with its podsandbox controller, NRI, image verifiers, tracing; and otelttrpc.
 */
export function catalogue(settings: IntrospectionSettings, drivers: readonly Driver[]): Plugin[] {
  const { gc, sharingPolicy } = settings
  const platforms = [hostPlatform()]
  const plugins: Array<Parameters<typeof Plugin.fromPartial>[0]> = [
    { type: types.event, id: 'exchange' },
    { type: types.warning, id: 'deprecations' },
    { type: types.internal, id: 'opt', exports: { path: settings.optPath } },
    contentStore(settings),
    ...drivers.map(snapshotter),
    {
      type: types.metadata,
      // Ours is Redis; `bolt` is the name by which clients ask for the policy.
      id: 'bolt',
      requires: [types.content, types.event, types.snapshotter],
      exports: { policy: sharingPolicy },
    },
    {
      type: types.gc,
      id: 'scheduler',
      requires: [types.metadata],
      exports: {
        PauseThreshold: String(gc.pauseThreshold),
        DeletionThreshold: String(gc.deletionThreshold),
        MutationThreshold: String(gc.mutationThreshold),
        ScheduleDelay: goDuration(gc.scheduleDelay),
      },
    },
    { type: types.lease, id: 'manager', requires: [types.metadata, types.gc] },
    { type: types.differ, id: 'walking', requires: [types.metadata], platforms },
    ...settings.proxyPlugins
      .filter(({ type }) => type === 'diff')
      .map(({ name, address, exports, capabilities }) => ({
        type: types.differ,
        id: name,
        platforms,
        exports: { address, ...exports },
        capabilities: [...capabilities],
      })),
    { type: types.streaming, id: 'manager', requires: [types.metadata] },
    { type: types.transfer, id: 'local', requires: [types.lease, types.metadata, types.differ] },
    { type: types.shim, id: 'manager', requires: [types.event, types.metadata] },
    {
      ...taskRuntime,
      requires: [types.event, types.metadata, types.shim],
      platforms,
      exports: { 'log-uri-schemes': 'fifo,binary,binary-v2,file' },
    },
    { type: types.taskMonitor, id: 'cgroups', requires: [types.event], platforms },
    // Ours is Redis; the id is what clients know.
    { type: types.mountManager, id: 'bolt', requires: [types.metadata] },
    { type: types.sandboxStore, id: 'local', requires: [types.metadata] },
    { type: types.sandboxController, id: 'shim', requires: [types.shim, types.event] },
    ...services.map(([id, requires]) => ({ type: types.service, id, requires: [...requires] })),
    {
      type: types.containerMonitor,
      id: 'restart',
      requires: [types.event, types.service],
      capabilities: ['no', 'always', 'on-failure', 'unless-stopped'],
    },
    ...grpcServices.map(([id, ...requires]) => ({ type: types.grpc, id, requires })),
  ]
  return plugins.map((plugin) => Plugin.fromPartial(plugin))
}

/** Milliseconds as Go prints a duration. */
function goDuration(ms: number): string {
  if (ms === 0) return '0s'
  return ms < 1_000 ? `${ms}ms` : `${ms / 1_000}s`
}
