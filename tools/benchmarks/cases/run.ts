import { type Case, clock } from '../case.ts'
import type { Side } from '../sides.ts'

const oneAtATime = 'ctr run --rm IMAGE true, one at a time'
const atOnce = 'ctr run --rm IMAGE true, 50 at once'

/** A container's whole life, as a person at a shell sees it. */
export const run: Case = {
  name: 'run',
  storage: 'tmpfs',
  figures: [
    { name: oneAtATime, unit: 'ms', target: 1 },
    { name: atOnce, unit: 'ms', target: 1 },
  ],
  async prepare({ images }) {
    await images.pushed('busybox')
  },
  async measure(side, { images, scale }) {
    const image = await images.pushed('busybox')
    await side.ctr('images', 'pull', '--local', '--plain-http', image)
    await runs(side, image, 3, 'warm')
    const [one, many] = [scale(20, 2), scale(50, 2)]
    return {
      [oneAtATime]: await clock(side, () => runs(side, image, one, 'one'), one),
      [atOnce]: await clock(side, () =>
        side.shell(`for i in $(seq ${many}); do $CTR run --rm ${image} many-$i true & jobs+=" $!"; done
          for job in $jobs; do wait $job; done`),
      ),
    }
  },
}

const runs = (side: Side, image: string, times: number, name: string) =>
  side.shell(`for i in $(seq ${times}); do $CTR run --rm ${image} ${name}-$i true; done`)
