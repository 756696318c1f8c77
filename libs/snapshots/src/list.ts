import { setImmediate } from 'node:timers/promises'
import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { type Matcher, snapshotFields } from '@flotilla/filters'
import type { Metadata } from '@flotilla/metadata'
import { infoOf } from './info.ts'
import type { Place } from './place.ts'

/** Records in one message, as containerd groups them. */
const groupSize = 100

/** Records that are looked at before other calls have their turn, whether they match or not. */
const inOneGo = 500

/**
 * The matching snapshots of a place in byte order, in groups. All are read at one moment, and decoded as they are
 * asked for, so that thousands hold up nobody.
 */
export async function* list(metadata: Metadata, place: Place, matcher: Matcher): AsyncGenerator<Info[]> {
  let group: Info[] = []
  const rows = await metadata.all(place.namespace, place.snapshots)
  for (const [index, [, bytes]] of rows.entries()) {
    if (index % inOneGo === inOneGo - 1) await setImmediate()
    const info = infoOf(Snapshot.decode(bytes), place.node)
    if (!matcher.matches(snapshotFields(info))) continue
    if (group.push(info) < groupSize) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
