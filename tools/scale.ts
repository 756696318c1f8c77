// What many nodes cost: agents announce themselves, take commands and tell events against a Redis and a NATS of this
// run, with the code that real nodes have. What is measured is the processor time of each process, told apart.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmbeddedNats, startEmbeddedRedis } from '@flotilla/embedded'
import { tempWorld } from '@flotilla/testing'
import type { Answer, Order } from './scale-parts/orders.ts'

const help = `scale: many nodes, simulated, against one Redis and one NATS

  tools/scale [--nodes N]… [--seconds S]

For each number of nodes (10, 100 and 1000 unless given) it prints one line of JSON:
  announce      what announcing costs one node: microseconds of processor time a second
  listen        what listening to all others costs one node: the same, and messages a second
  natsCpu       of nats-server while all nodes announce and one listens, and while 50 more listen: share of a processor
  redisCpu      of redis-server, the same moment
  commands      commands a second to nodes chosen at random, 64 under way at a time, and the median of their times in ms
  events        events a second from all nodes through the log to a subscriber
`

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', multiple: true, default: ['10', '100', '1000'] },
    seconds: { type: 'string', default: '10' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const counts = values.nodes.map(Number)
const seconds = Number(values.seconds)
if (!counts.every((count) => Number.isInteger(count) && count > 0) || !(seconds > 0)) {
  process.stderr.write(help)
  process.exit(2)
}

/** Further connections that get every announcement, to tell what each adds to the work of NATS. */
const moreListeners = 50

/** Processor time of a process so far, in seconds. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** A process of its own that does what it is told, so that its processor time is its own too. */
class Part implements AsyncDisposable {
  readonly #child: ChildProcess

  constructor(kind: string, urls: { redis: string; nats: string }) {
    const main = fileURLToPath(new URL('./scale-parts/part.ts', import.meta.url))
    this.#child = fork(main, [kind, urls.redis, urls.nats], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  }

  async tell(order: Order): Promise<Answer> {
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error(`the process for ${order.do} ended`)
    })
    ended.catch(() => {})
    this.#child.send(order)
    const [answer] = (await Promise.race([once(this.#child, 'message'), ended])) as [Answer]
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }
}

async function measure(count: number): Promise<object> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ name: 'scale', tmpfs: true }))
  const place = (name: string) => ({ data: world.join(`${name}/data`), run: world.join(`${name}/run`) })
  const redis = stack.use(await startEmbeddedRedis(place('redis')))
  const nats = stack.use(await startEmbeddedNats(place('nats')))
  const urls = { redis: redis.url, nats: nats.url }
  const pid = (name: string) => Number(readFileSync(world.join(`${name}/run/${name}.pid`), 'utf8'))
  const part = (kind: string) => stack.use(new Part(kind, urls))
  const agents = part('agents')
  await agents.tell({ do: 'start', count })
  const listener = part('listener')
  await listener.tell({ do: 'start', count: 1 })

  /** Seconds of processor time that each used in a second, over some seconds. */
  async function shares() {
    const at = () => ({ redis: cpuOf(pid('redis')), nats: cpuOf(pid('nats')) })
    const before = {
      ...at(),
      agents: await agents.tell({ do: 'usage' }),
      listener: await listener.tell({ do: 'usage' }),
    }
    await sleep(seconds * 1_000)
    const after = {
      ...at(),
      agents: await agents.tell({ do: 'usage' }),
      listener: await listener.tell({ do: 'usage' }),
    }
    const spent = (name: 'agents' | 'listener') => (after[name].cpu - before[name].cpu) / seconds
    return {
      redis: (after.redis - before.redis) / seconds,
      nats: (after.nats - before.nats) / seconds,
      agents: spent('agents'),
      listener: spent('listener'),
      heard: (after.listener.count - before.listener.count) / seconds,
    }
  }
  // What all said when they were asked at the start is over.
  await sleep(2_000)
  const quiet = await shares()
  const heard = await (async () => {
    await using others = new Part('sinks', urls)
    await others.tell({ do: 'start', count: moreListeners })
    await sleep(2_000)
    return await shares()
  })()
  const commands = await listener.tell({ do: 'commands', nodes: count, seconds })
  const events = await listener.tell({ do: 'events', nodes: count, seconds })
  const micros = (share: number) => Math.round(share * 1e6)
  const percent = (share: number) => Math.round(share * 1_000) / 1_000
  return {
    nodes: count,
    announce: micros(quiet.agents / count),
    listen: { micros: micros(quiet.listener), messages: Math.round(quiet.heard) },
    natsCpu: [percent(quiet.nats), percent(heard.nats)],
    redisCpu: percent(quiet.redis),
    commands: { perSecond: Math.round(commands.count / seconds), medianMs: commands.median },
    events: { perSecond: Math.round(events.count / seconds) },
  }
}

for (const count of counts) process.stdout.write(`${JSON.stringify(await measure(count))}\n`)
