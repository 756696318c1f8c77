import { setTimeout } from 'node:timers/promises'
import type { Case } from '../case.ts'
import type { Side } from '../sides.ts'

const MB = 1e6
/** Looks, a second apart, in which both give back what the runs left. */
const looks = 30
const ready = 'start to ready'
const idle = 'idle memory, with its stores'
const each = 'memory for each running container beyond its shim'

export const idleness: Case = {
  name: 'idle',
  storage: 'tmpfs',
  figures: [
    { name: ready, unit: 'ms', target: 1_500, absolute: true },
    { name: idle, unit: 'MB', target: 200, absolute: true },
    { name: each, unit: 'MB', target: 0.2, absolute: true },
  ],
  prepare: ({ images }) => images.pushed('busybox').then(() => {}),
  async measure(side, { images, scale }) {
    const image = await images.pushed('busybox')
    await side.ctr('images', 'pull', '--local', '--plain-http', image)
    const run = (name: string, count: number) =>
      side.shell(`for i in $(seq ${count}); do $CTR run -d ${image} ${name}-$i sleep 100000; done`)
    const memory = side.memory() / MB
    // A daemon that has run so many has made what it needs once, however many there are.
    await run('former', scale(50, 1))
    await side.removeTasks()
    await run('first', scale(10, 1))
    const before = await leastMemory(side, scale(looks, 1))
    const more = scale(80, 2)
    await run('more', more)
    const after = await leastMemory(side, scale(looks, 1))
    await side.removeTasks()
    return {
      [ready]: { value: side.readyAfter },
      [idle]: { value: memory },
      [each]: { value: (after - before) / more },
    }
  },
}

/** Of what is left alone the least says what is held. */
async function leastMemory(side: Side, times: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let time = 0; time < times; time++) {
    await setTimeout(1_000)
    least = Math.min(least, side.memory() / MB)
  }
  return least
}
