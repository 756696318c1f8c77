// Follows events in JetStream with a durable consumer, which remembers on the server how far it got:
//
//   node libs/events/examples/jetstream.ts NATS-URL CONSUMER [SUBJECT]
//
// SUBJECT narrows it down: flotilla.events.default.tasks.> for the tasks of one namespace.
import { Envelope } from '@flotilla/api/containerd/types/types'
import { AckPolicy, connect, DeliverPolicy } from 'nats'

const [servers, consumer, subject = 'flotilla.events.>'] = process.argv.slice(2)
if (servers === undefined || consumer === undefined) throw new Error('usage: jetstream.ts NATS-URL CONSUMER [SUBJECT]')

const nats = await connect({ servers })
const manager = await nats.jetstreamManager()
await manager.consumers.add('FLOTILLA_EVENTS', {
  durable_name: consumer,
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
  filter_subject: subject,
  // One at a time keeps the order also when a message has to be delivered again.
  max_ack_pending: 1,
})
const messages = await (await nats.jetstream().consumers.get('FLOTILLA_EVENTS', consumer)).consume()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void messages.close())
// JetStream delivers at least once. The number in the log tells what was there already.
let last = 0
for await (const message of messages) {
  const sequence = Number(message.headers?.get('Flotilla-Sequence'))
  if (sequence > last) {
    const { namespace, topic, event } = Envelope.decode(message.data)
    process.stdout.write(
      `${sequence} ${message.headers?.get('Flotilla-Node')} ${namespace} ${topic} ${event?.typeUrl}\n`,
    )
    last = sequence
  }
  message.ack()
}
await nats.close()
