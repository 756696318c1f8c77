import { randomUUID } from 'node:crypto'
import {
  ListSnapshotsRequest,
  type SnapshotsDefinition,
} from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Logger } from '@flotilla/log'
import { type Call, hasCode, type ServiceOf, status } from '@flotilla/rpc'

const label = 'flotilla.io/unpacked-by'

/**
 * Tells the active snapshots that this process unpacks into from those that a process before it has left, whose client's
 * lease would keep them for a day. A node has one process that does transfers.
 */
export class Unpackings {
  readonly #process = randomUUID()
  readonly #looked = new Map<string, Promise<void>>()

  /** For a snapshot to be unpacked into; they go when it is committed. */
  readonly labels = { [label]: this.#process }

  /** To be taken off again, as a field of Snapshots.Update, where a snapshot came to be without being unpacked. */
  readonly labelField = `labels.${label}`

  /** Removes what a process before this one left half unpacked in the caller's namespace; looks once. */
  async removeAbandoned(
    { snapshots, logger }: { readonly snapshots: ServiceOf<SnapshotsDefinition>; readonly logger: Logger },
    snapshotter: string,
    call: Call,
  ): Promise<void> {
    const place = `${call.namespace} ${snapshotter}`
    const looked = this.#looked.get(place) ?? this.#remove(snapshots, snapshotter, call)
    this.#looked.set(place, looked)
    try {
      await looked
    } catch (err) {
      this.#looked.delete(place)
      logger.warn({ err, snapshotter }, 'could not remove what a process before this one left half unpacked')
    }
  }

  async #remove(snapshots: ServiceOf<SnapshotsDefinition>, snapshotter: string, call: Call): Promise<void> {
    const request = ListSnapshotsRequest.fromPartial({ snapshotter, filters: [`kind==active,labels."${label}"`] })
    const left: string[] = []
    for await (const { info } of snapshots.list(request, call))
      for (const { name, labels } of info) if (labels[label] !== this.#process) left.push(name)
    for (const key of left)
      await snapshots.remove({ snapshotter, key }, call).catch((error: unknown) => {
        if (!hasCode(error, status.NOT_FOUND)) throw error
      })
  }
}
