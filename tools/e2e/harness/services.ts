import type { TempWorld } from '@flotilla/testing'
import type { System } from './system.ts'

/** Each service as a process of its own, by tools/services. */
export async function startServices(_world: TempWorld): Promise<System> {
  throw new Error('tools/services is not there yet')
}
