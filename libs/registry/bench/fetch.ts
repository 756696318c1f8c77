// node libs/registry/bench/fetch.ts: processor time of fetching and pushing one large blob, against docker-registry.
import { startRegistry } from '@flotilla/testing'
import { pieces, quickClient, randomBlob } from '../src/fixtures.ts'

await using registry = await startRegistry()
await using client = quickClient()
const repository = client.repository(`${registry.host}/bench/blob:1`)
const blob = randomBlob(259_000_000)

async function measure(what: string, work: () => Promise<unknown>) {
  const start = performance.now()
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  const wall = Math.round(performance.now() - start)
  process.stdout.write(`${what}: ${Math.round((user + system) / 1000)} ms of processor, ${wall} ms in all\n`)
}

async function fetchAll(ranges: number) {
  let size = 0
  for await (const bytes of repository.fetch(blob, { ranges })) size += bytes.length
  if (size !== blob.size) throw new Error(`${size} bytes came`)
}

await measure('push', () => repository.push(blob, (offset) => pieces(blob.bytes, offset, 1024 * 1024)))
for (let n = 0; n < 3; n++) await measure('fetch', () => fetchAll(1))
await measure('fetch in four ranges', () => fetchAll(4))
