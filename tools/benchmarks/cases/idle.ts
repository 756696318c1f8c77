import type { Case } from '../case.ts'

const MB = 1e6
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
    await run('first', scale(10, 1))
    const before = side.memory() / MB
    const more = scale(40, 2)
    await run('more', more)
    const after = side.memory() / MB
    await side.shell('$CTR tasks ls -q | xargs -n1 $CTR tasks rm -f >/dev/null')
    return {
      [ready]: { value: side.readyAfter },
      [idle]: { value: memory },
      [each]: { value: (after - before) / more },
    }
  },
}
