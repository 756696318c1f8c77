import type { BundleRoots } from './bundle.ts'
import type { NodeTasksDeps } from './deps.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Ledger } from './ledger.ts'
import type { Recorder } from './recorder.ts'
import type { Sandbox } from './sandbox.ts'
import type { ShimBinaries } from './shim-binary.ts'
import { openShimLog } from './shim-log.ts'
import type { Task } from './task.ts'

/** What the parts of this library share: one for each node, made by `createNodeTasks`. */
export interface Node {
  readonly deps: NodeTasksDeps
  /** Folders that shims are looked up in, joined by colons. */
  readonly searchPath: string
  readonly roots: BundleRoots
  /** Where the bundles of sandboxes lie. */
  readonly sandboxRoots: BundleRoots
  readonly binaries: ShimBinaries
  readonly ledger: Ledger
  readonly recorder: Recorder
  /** By {@link taskKey}. */
  readonly tasks: Map<string, Task>
  /** By {@link taskKey}. */
  readonly sandboxes: Map<string, Sandbox>
  /** Held by whoever makes or removes a task, by {@link taskKey}. */
  readonly lock: KeyedLock
}

/** Process ids of the shims that serve tasks and sandboxes. */
export function servingShims({ sandboxes, tasks }: Node): Set<number> {
  return new Set([...tasks.values(), ...sandboxes.values()].map(({ shim }) => shim.pid))
}

/** Opens a shim's log; its errors are ours to warn of, the rest is for those who debug. */
export function followShimLog({ deps }: Node, bundle: { id: string; namespace: string; path: string }): Disposable {
  const { id, namespace } = bundle
  return openShimLog(`${bundle.path}/log`, (line) => {
    const bad = /level"?[=:]"?(error|fatal|panic)/.test(line)
    deps.logger[bad ? 'warn' : 'debug']({ namespace, shim: id }, line)
  })
}
