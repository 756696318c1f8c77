// A process of subscribers: says so when each stream received a probe, and the latencies when each received all events.
import { SubscribeRequest } from '@flotilla/api/containerd/services/events/v1/events'
import { quantile } from '../statistics.ts'
import { eventTopic, probeWord, stampDigits, stampWord } from './messages.ts'
import type { Latencies, SubscriberJob } from './subscribers.ts'
import { type UnaryConnection, unaryConnection } from './unary-connection.ts'

const job: SubscriberJob = JSON.parse(process.argv[2] ?? '')
const streamsPerConnection = 10
const request = SubscribeRequest.encode({ filters: [`topic=="${eventTopic}"`] }).finish()
const latencies: number[] = []
let probed = 0
let finished = 0

const connections: UnaryConnection[] = []
for (let stream = 0; stream < job.streams; stream++) {
  if (stream % streamsPerConnection === 0)
    connections.push(
      await unaryConnection(job.address, '/containerd.services.events.v1.Events/Subscribe', job.namespace),
    )
  void connections.at(-1)?.call(request, receiver()).catch(fail)
}

/** Takes the bytes of one stream. */
function receiver(): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  let events = 0
  let sawProbe = false
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (bytes.length - at >= 5) {
      const end = at + 5 + bytes.readUInt32BE(at + 1)
      if (bytes.length < end) break
      const message = bytes.subarray(at + 5, end)
      at = end
      const stamp = message.indexOf(stampWord)
      if (stamp >= 0) {
        const sent = message.toString('latin1', stamp + stampWord.length, stamp + stampWord.length + stampDigits)
        latencies.push(Number(process.hrtime.bigint() - BigInt(sent)) / 1e6)
        if (++events === job.events && ++finished === job.streams) report()
      } else if (!sawProbe && message.includes(probeWord)) {
        sawProbe = true
        if (++probed === job.streams) process.send?.('ready')
      }
    }
    rest = Buffer.from(bytes.subarray(at))
  }
}

function report(): void {
  process.send?.({ p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) } satisfies Latencies)
}

function fail(error: unknown): void {
  process.stderr.write(`${error}\n`)
  process.exit(1)
}
