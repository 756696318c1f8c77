// How long 10,000 events take from Publish to 1, 10 and 100 subscribers over gRPC on a unix socket, all in this process
// and with Redis syncing each write: `node libs/events/bench/fan-out.ts [events] [publishers]`. Prints one line for each.
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { clientOf, connect, makeCall } from '@flotilla/rpc'
import { eventsWorld, numbered, say, textOf } from '../src/fixture.ts'

const events = Number(process.argv[2] ?? 10_000)
const publishers = Number(process.argv[3] ?? 16)

const percentile = (sorted: number[], part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN

for (const subscribers of [1, 10, 100]) {
  await using world = await eventsWorld({ durable: true })
  const { address } = await world.overGrpc()
  const channels = numbered(Math.min(subscribers, 10)).map(() => connect(address))
  const clients = channels.map((channel) => clientOf(EventsDefinition, channel))
  const client = (index: number) => clients[index % clients.length] as (typeof clients)[number]
  const latencies: number[] = []
  const started = performance.now()
  const receiving = numbered(subscribers).map(async (_, index) => {
    const stream = client(index).subscribe({ filters: [] }, makeCall())
    let count = 0
    for await (const envelope of stream) {
      if (index === 0) latencies.push(performance.now() - Number(textOf(envelope)))
      if (++count === events) break
    }
  })
  // Time for the subscriptions of all connections to take effect.
  await new Promise((resolve) => setTimeout(resolve, 200))
  const publishing = performance.now()
  let next = 0
  await Promise.all(
    numbered(publishers).map(async () => {
      while (next++ < events) await say(client(0), String(performance.now()))
    }),
  )
  const published = performance.now()
  await Promise.all(receiving)
  const received = performance.now()
  latencies.sort((a, b) => a - b)
  const perSecond = (ms: number, count: number) => Math.round((count / ms) * 1_000).toLocaleString('en')
  process.stdout.write(
    [
      `${subscribers} subscribers:`,
      `published ${perSecond(published - publishing, events)}/s,`,
      `delivered ${perSecond(received - publishing, events * subscribers)}/s,`,
      `p50 ${percentile(latencies, 0.5).toFixed(1)} ms, p99 ${percentile(latencies, 0.99).toFixed(1)} ms,`,
      `${((received - started) / 1_000).toFixed(1)} s in all\n`,
    ].join(' '),
  )
  for (const channel of channels) channel.close()
}
process.exit(0)
