import type { Metadata } from '@flotilla/metadata'
import type { Slots } from '@flotilla/turns'
import type { Adoptions } from './adoptions.ts'
import type { Bytes } from './bytes.ts'
import type { DigestLocks } from './digest-locks.ts'
import type { DirectorySync } from './directory-sync.ts'
import type { Layout } from './layout.ts'
import type { Arrivals } from './peers/arrivals.ts'
import type { Peers } from './peers/peers.ts'
import type { SecondLooks } from './second-looks.ts'
import type { Writers } from './writers.ts'

/**
 * Who may have the bytes of another namespace's blob by naming its digest: `shared`, everyone; `isolated`, everyone if
 * one that has it is labelled shareable, else who brings the bytes.
 */
export type SharingPolicy = 'shared' | 'isolated'

/** What is told of troubles that no caller hears of; a pino logger fits. */
export interface StoreLogger {
  warn(about: object, message: string): void
}

/** What the methods of one content store work with. */
export interface Store {
  readonly metadata: Metadata
  readonly bytes: Bytes
  /** Where this node's own files are: those of {@link bytes}, unless another program has them, and arrivals. */
  readonly layout: Layout
  /** Name of the node whose disk this is. */
  readonly node: string
  readonly policy: () => SharingPolicy
  readonly writers: Writers
  readonly digests: DigestLocks
  readonly adoptions: Adoptions
  readonly directories: DirectorySync
  readonly secondLooks: SecondLooks
  /** Aborted when the store closes: open writers end. */
  readonly closing: AbortSignal
  readonly logger: StoreLogger | undefined
  /** The other nodes; absent for a machine alone. */
  readonly peers: Peers | undefined
  /** Nodes that are to have each blob that did not come from a registry. */
  readonly copies: number
  readonly arrivals: Arrivals
  /** Bounds how many parts of blobs other nodes get from this one at once. */
  readonly serving: Slots
}
