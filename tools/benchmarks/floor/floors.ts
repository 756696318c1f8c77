import type { BenchImages } from '../images.ts'
import { callFloors } from './calls.ts'
import { commandFloors } from './commands.ts'
import type { Effort, Floor } from './floor.ts'
import { layerFloors } from './layer.ts'
import { recordFloors } from './records.ts'

/** The least that the parts of cases can take, measured one after the other. */
export async function* floors(peer: string, images: BenchImages, effort: Effort): AsyncGenerator<Floor> {
  // First, while this process is small: starting a program copies its page tables, and layers are held in memory.
  yield* commandFloors(peer, effort)
  yield* callFloors(effort)
  yield* recordFloors(effort)
  yield* layerFloors(images, effort)
}
