import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { callIn, connectTo } from '../../e2e/harness/clients.ts'
import { type Case, clock, type Reading } from '../case.ts'
import { namespace, type Side } from '../sides.ts'
import { median } from '../statistics.ts'

const exec = 'task exec of true'
const kill = 'kill to exit event'

export const processes: Case = {
  name: 'processes',
  storage: 'tmpfs',
  figures: [
    { name: exec, unit: 'ms', target: 1 },
    { name: kill, unit: 'ms', target: 1 },
  ],
  prepare: ({ images }) => images.pushed('busybox').then(() => {}),
  async measure(side, { images, scale }) {
    const image = await images.pushed('busybox')
    await side.ctr('images', 'pull', '--local', '--plain-http', image)
    const [execs, kills, warm] = [scale(20, 2), scale(20, 2), scale(30, 1)]
    await side.shell(`for i in $(seq 0 ${warm + kills - 1}); do $CTR run -d ${image} sleep-$i sleep 100000; done`)
    const run = (count: number, name: string) =>
      side.shell(`for i in $(seq ${count}); do $CTR task exec --exec-id ${name}-$i sleep-0 true; done`)
    await run(warm, 'warm')
    const executed = await clock(side, () => run(execs, 'exec'), execs)
    const killed: number[] = []
    for (let index = 0; index < warm + kills; index++) killed.push(await untilExit(side, `sleep-${index}`))
    await side.shell(`$CTR containers ls -q | xargs -n1 $CTR containers rm`)
    // The first ones pay for the connection and for what is compiled while they run.
    return { [exec]: executed, [kill]: { value: median(killed.slice(warm)) } satisfies Reading }
  },
}

/** Milliseconds from the call of Kill to the event that the task has ended. */
async function untilExit(side: Side, containerId: string): Promise<number> {
  using clients = connectTo(side.address)
  const call = callIn(namespace)
  const tasks = clients.of(TasksDefinition)
  const events = clients.of(EventsDefinition).subscribe({ filters: ['topic=="/tasks/exit"'] }, call)
  const first = events[Symbol.asyncIterator]()
  const came = first.next()
  // Only a second round trip shows that the first one has subscribed.
  await tasks.get({ containerId, execId: '' }, call)
  await new Promise((resolve) => setTimeout(resolve, 20))
  const start = performance.now()
  await tasks.kill({ containerId, execId: '', signal: 9, all: false }, call)
  await came
  const value = performance.now() - start
  await tasks.delete({ containerId }, call)
  await first.return?.()
  return value
}
