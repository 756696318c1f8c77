import type { Resource } from './tables.ts'

/** A condition on one table; a change is refused when any does not hold. */
export type Check =
  | { readonly is: 'absent' | 'present'; readonly table: string; readonly field: string }
  | { readonly is: 'equals'; readonly table: string; readonly field: string; readonly value: Uint8Array | string }
  | { readonly is: 'empty'; readonly table: string }
  | { readonly is: 'member'; readonly table: string; readonly field: string }

export type Write =
  | { readonly op: 'set'; readonly table: string; readonly field: string; readonly value: Uint8Array | string }
  | { readonly op: 'delete'; readonly table: string; readonly field: string }
  /** Sets: add or remove a member. */
  | { readonly op: 'add' | 'remove'; readonly table: string; readonly field: string }
  /** Adds to a counter; the field goes when it reaches zero, so `absent` tests for zero. */
  | { readonly op: 'increment'; readonly table: string; readonly field: string; readonly by: number }
  | { readonly op: 'drop'; readonly table: string }
  /** Milliseconds until the whole table expires. */
  | { readonly op: 'expire'; readonly table: string; readonly ms: number }

/** An event that becomes true with the change. */
export interface OutboxEvent {
  readonly topic: string
  readonly typeUrl: string
  readonly value: Uint8Array
  /** When it happened; now by default. */
  readonly time?: { readonly seconds: number; readonly nanos: number }
  /** The node it happened on; the store's own origin by default. */
  readonly node?: string
  /** Position in that node's event journal: an event with a position already taken is dropped silently. */
  readonly sequence?: number
}

/** An event that is in the log. */
export interface LoggedEvent {
  /** Its number in the log. */
  readonly sequence: number
  /** The envelope as it is on the wire. */
  readonly envelope: Buffer
  /** Where it happened. */
  readonly node: string
  /** When the store put it there, milliseconds since the epoch by the store's clock. */
  readonly at: number
}

/** One atomic change of a namespace. Everything is optional; checks are made in order, before the first write. */
export interface Plan {
  readonly checks?: readonly Check[]
  readonly writes?: readonly Write[]
  /** What joins and leaves the lease. With joins, an unknown lease refuses the change; leaving one is never an error. */
  readonly lease?: {
    readonly id: string
    readonly add?: readonly Resource[]
    readonly remove?: readonly Resource[]
  }
  readonly events?: readonly OutboxEvent[]
  /**
   * Every object whose references or reachability this change may have widened: created, relabelled, given to a lease.
   * A collection that runs meanwhile looks at them again before it removes anything. Lease joins are added by themselves.
   */
  readonly touches?: readonly Resource[]
  /** Deletions that should make the garbage collector run. */
  readonly deletions?: number
  /** Whether the collector makes this change: what it remembers of the records, it brings up to date itself. */
  readonly known?: boolean
  /** Whether a namespace that has no record gets one. Default: when anything is `set`. */
  readonly createsNamespace?: boolean
}

/** What came of a change: done, or the first check that did not hold with the value it found. */
export type Outcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly check: number; readonly current: Buffer | undefined }
