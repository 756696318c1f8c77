// Follows the events of the cluster from a sequence number on, and goes on where it was when a connection breaks.
// Usage: node events.ts [FROM [COUNT]]
import { subscribe } from '@flotilla/client'
import { connect } from './world.ts'

using client = connect()
const [from, count = '10'] = process.argv.slice(2)
let left = Number(count)
for await (const event of subscribe(client, from === undefined ? {} : { from: Number(from) })) {
  console.log(event.sequence, event.node, event.namespace, event.topic, JSON.stringify(event.message))
  if (--left === 0) break
}
