// A node on a thread of its own: takes one command after the other and answers each, half a second later, with the same.
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { connect } from 'nats'

const { url, subject, answer } = workerData as { url: string; subject: string; answer: Uint8Array }
const nats = await connect({ servers: url })
const commands = nats.subscribe(subject)
await nats.flush()
parentPort?.postMessage('listening')
for await (const command of commands) {
  await sleep(500)
  command.respond(answer)
}
