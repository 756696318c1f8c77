// A process of callers: connects, says so, waits for the word, makes its calls and ends.
import { once } from 'node:events'
import type { CallerJob } from './callers.ts'
import { messages } from './messages.ts'
import { unaryConnection } from './unary-connection.ts'

const job: CallerJob = JSON.parse(process.argv[2] ?? '')
const { path, of, ...kind } = messages[job.message]
const late = 'late' in kind
const prepared = late ? [] : Array.from({ length: job.end - job.first }, (_, index) => of(job.first + index))
using connection = await unaryConnection(job.address, path, job.namespace)
process.send?.('ready')
await once(process, 'message')
let next = job.first
await Promise.all(
  Array.from({ length: job.callers }, async () => {
    while (next < job.end) {
      const number = next++
      await connection.call(prepared[number - job.first] ?? of(number))
    }
  }),
)
process.disconnect?.()
