import type { Logger } from '@flotilla/log'

/**
 * # What a snapshot driver does
 *
 * A snapshot is a directory tree, made from nothing or upon a parent, of which it has all and which it never changes.
 * Clients see names, kinds, labels and times; those are records of the snapshots service. The driver sees only
 * directories, each with an id that the driver gave it.
 *
 * ## Life of a directory
 *
 * 1. `create` makes it, writable or read-only (a view), upon a list of parents. It is there whole when `create` has
 *    answered, and not at all when it failed or the process died.
 * 2. The service records the id. Until then nothing keeps it but its youth: the collector asks `ids` for directories of
 *    a certain age, compares them with the records and removes the rest.
 * 3. `mounts` says how to mount it, any number of times, with the same answer. What is written goes through those mounts.
 * 4. `commit` of a writable one measures it. The id stays, and may now be a parent of others. The service may call
 *    `commit` again, or go on writing, when its own step fails afterwards: so `commit` must not make that impossible.
 * 5. `remove` deletes it, children first; the service sees to the order.
 *
 * ## Promises
 *
 * - An id is a decimal number that is never given again, not even after a removal, a restart or a kill.
 * - A committed directory is not written to by the driver, nor are its parents.
 * - Labels are hints, except the two id mappings, which a driver either obeys or refuses.
 * - An error is an RpcError where the caller can do something (NOT_FOUND for an id that is not there, INVALID_ARGUMENT
 *   for a label that makes no sense), otherwise what the system gave.
 */
export interface SnapshotDriver extends AsyncDisposable {
  /** Capabilities as containerd's plugin of the same name has them: `remap-ids`, `only-remap-ids`, `rebase`. */
  readonly capabilities: readonly string[]
  /**
   * Makes a directory and answers its id; rejects with {@link TargetExists} when there is no need to. An abort leaves
   * nothing.
   */
  create(request: NewDirectory, signal: AbortSignal): Promise<string>
  /** How to mount a directory that is not committed. */
  mounts(directory: Directory): Promise<DriverMount[]>
  /** What the directory needs on disk, without its parents. */
  usage(directory: Directory, signal: AbortSignal): Promise<DiskUsage>
  /**
   * Does what has to be done before others build upon the directory, and measures it. One made without parents may get
   * some now, where the driver says `rebase`.
   */
  commit(
    directory: Directory & { readonly name: string; readonly rebased: boolean },
    signal: AbortSignal,
  ): Promise<DiskUsage>
  /**
   * Takes note that labels meant for drivers have changed, those that `changed` names and no others; absent where they
   * matter at the beginning only.
   */
  relabel?(directory: Directory & { readonly changed: readonly string[] }, signal: AbortSignal): Promise<void>
  /** Deletes directories. Unknown ids are no error. */
  remove(ids: readonly string[]): Promise<void>
  /** The ids of all directories that were made more than `age` milliseconds ago. */
  ids(age: number): Promise<string[]>
}

/** What label `containerd.io/snapshot.ref` asks for is there, committed; it has an id from now on. */
export class TargetExists extends Error {
  readonly id: string
  /** What the driver has on it. */
  readonly labels: Readonly<Record<string, string>>

  constructor(id: string, labels: Readonly<Record<string, string>>) {
    super('the target of the snapshot exists already')
    this.name = 'TargetExists'
    this.id = id
    this.labels = labels
  }
}

export interface NewDirectory {
  /** True for a view: its mounts will be read-only. */
  readonly readonly: boolean
  /** Ids of all ancestors, nearest first; empty for a tree from nothing. */
  readonly parents: readonly string[]
  /** The labels meant for drivers: those that begin with `containerd.io/snapshot`. */
  readonly labels: Readonly<Record<string, string>>
  /** The containerd namespace, and the client's name in it: for drivers that pass snapshots on to another program. */
  readonly namespace: string
  readonly key: string
}

export interface Directory extends Omit<NewDirectory, 'namespace' | 'key'> {
  readonly id: string
}

/** A mount as containerd's API describes it. */
export interface DriverMount {
  readonly type: string
  readonly source: string
  /** Directory below the target; usually ''. */
  readonly target: string
  readonly options: string[]
}

export interface DiskUsage {
  /** Bytes allocated, not bytes written. */
  readonly size: number
  /** Files and directories; several names of one file count once. */
  readonly inodes: number
}

/** A driver that can be opened: what an app's composition lists. */
export interface DriverKind {
  /** What clients call it: `overlayfs`. */
  readonly name: string
  /** What introspection tells of it; its root unless given. */
  readonly exports?: Readonly<Record<string, string>>
  /** Its root, in place of the one below the daemon's. */
  readonly root?: string
  /**
   * Takes possession of a directory, which is made when it is not there, and clears away what a killed process left half
   * done. Rejects when the driver cannot work there; the message is the reason that clients read.
   */
  open(root: string, logger: Logger): Promise<SnapshotDriver>
}
