// Follows events over gRPC and can be stopped and started again without missing or repeating one:
//
//   node libs/events/examples/watch.ts ADDRESS STATE-FILE [FILTER…]
//
// It remembers the sequence number of the last event it has dealt with. A first start begins with now.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { clientOf, connect, hasCode, makeCall, status } from '@flotilla/rpc'

const [address, file, ...filters] = process.argv.slice(2)
if (address === undefined || file === undefined) throw new Error('usage: watch.ts ADDRESS STATE-FILE [FILTER…]')

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

const channel = connect(address)
const log = clientOf(LogDefinition, channel)
const seen = existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined
const start = seen === undefined ? {} : { sequence: seen + 1 }
try {
  const request = { ...start, filters, node: '', follow: true }
  for await (const { sequence, envelope, node } of log.read(request, makeCall({ signal: stop.signal }))) {
    process.stdout.write(`${sequence} ${node} ${envelope?.namespace} ${envelope?.topic} ${envelope?.event?.typeUrl}\n`)
    // Renamed into place, so that a crash leaves the old number or the new one.
    writeFileSync(`${file}.new`, String(sequence))
    renameSync(`${file}.new`, file)
  }
} catch (error) {
  if (!stop.signal.aborted) {
    const beyond = hasCode(error, status.OUT_OF_RANGE)
    process.stderr.write(beyond ? 'away for longer than events are kept: look at everything again\n' : `${error}\n`)
    process.exitCode = 1
  }
} finally {
  channel.close()
}
