import type { Metadata } from '@flotilla/metadata'
import { alreadyExists, type Call } from '@flotilla/rpc'
import { type Place, resourceOf } from './place.ts'

/**
 * Says ALREADY_EXISTS of a snapshot, which joins the call's lease in the step that sees it there. Answers without an
 * error when it is there no more: then the caller may begin anew.
 */
export async function refuseExisting(
  metadata: Metadata,
  place: Place,
  name: string,
  what: string,
  call: Call,
): Promise<void> {
  if (call.lease) {
    const outcome = await metadata.transact(place.namespace, {
      checks: [{ is: 'present', table: place.snapshots, field: name }],
      lease: { id: call.lease, add: [resourceOf(place, name)] },
    })
    if (!outcome.ok) return
  }
  throw alreadyExists(`${what} "${name}"`)
}
