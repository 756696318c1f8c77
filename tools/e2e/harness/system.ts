import type { TempWorld } from '@flotilla/testing'
import { startContainerd } from './containerd.ts'
import { startServices } from './services.ts'
import { startStandalone } from './standalone.ts'
import type { Version } from './versions.ts'

/** A containerd, ours or the real one, running in directories of its own. */
export interface System extends AsyncDisposable {
  readonly kind: SystemKind
  /** Path of the socket that clients connect to. */
  readonly address: string
  readonly root: string
  readonly state: string
  /** Files that say what happened. */
  readonly logs: readonly string[]
  /** Pids of its processes by name, without shims and containers. */
  processes(): Promise<ReadonlyMap<string, number>>
  /** Ends all of its processes at once with SIGKILL; containers stay. */
  kill(): Promise<void>
  /** Starts it again on the same directories, and waits until it serves. */
  start(): Promise<void>
  /** Ends it with SIGTERM and waits. */
  stop(): Promise<void>
}

export type SystemKind = 'standalone' | 'services' | 'containerd'

export const underTest = (process.env.FLOTILLA_UNDER_TEST ?? 'standalone') as SystemKind

/** Starts the system that FLOTILLA_UNDER_TEST names, or another; the real containerd in the version given. */
export async function startSystem(world: TempWorld, version: Version, kind = underTest): Promise<System> {
  if (kind === 'containerd') return startContainerd(world, version)
  if (kind === 'services') return startServices(world)
  return startStandalone(world)
}
