import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { BlobsDefinition } from '@flotilla/api/flotilla/peer/v1/peer'
import type { ServiceOf } from '@flotilla/rpc'

/** The other nodes, as a content store sees them. */
export interface Peers {
  /** Names of all nodes that answer, this one among them. */
  ready(): Promise<readonly string[]>
  isReady(node: string): Promise<boolean>
  /** What a node serves others, over gRPC. */
  blobs(node: string): ServiceOf<BlobsDefinition>
  /** What a node is told, over the bus. */
  local(node: string): Pick<ServiceOf<LocalBlobsDefinition>, 'writing' | 'bring'>
  /** The bytes of a blob, from an offset on, where it came from; undefined when nobody knows where that was. */
  source(wanted: Wanted, offset: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>
}

/** A blob that a namespace has. */
export interface Wanted {
  readonly namespace: string
  readonly digest: string
  readonly size: number
  readonly labels: Readonly<Record<string, string>>
}
