import type { Mount } from '@flotilla/api/containerd/types/types'
import { handledTypes } from './place.ts'
import { type Transform, transforms } from './transform.ts'

/** A mount with what has to happen before it is made. */
export interface PlannedMount {
  /** Its type has no prefix any more. */
  readonly mount: Mount
  readonly transforms: readonly Transform[]
}

export interface MountPlan {
  readonly mounts: readonly PlannedMount[]
  /** How many of them are made here; the rest is the client's. -1 when the client can do without us. */
  readonly ours: number
}

/** What of a request is ours to mount: everything before the last that needs us. */
export function planMounts(mounts: readonly Mount[], temporary: boolean): MountPlan {
  let ours = -1
  const planned = mounts.map((mount, index): PlannedMount => {
    const chain: Transform[] = []
    let { type } = mount
    for (let slash = type.indexOf('/'); slash >= 0; slash = type.indexOf('/')) {
      const transform = transforms.get(type.slice(0, slash))
      if (transform === undefined) break
      chain.push(transform)
      type = type.slice(slash + 1)
      ours = index
    }
    if (temporary || handledTypes.includes(type)) ours = index + 1
    return { mount: { ...mount, type }, transforms: chain }
  })
  return { mounts: planned, ours }
}
