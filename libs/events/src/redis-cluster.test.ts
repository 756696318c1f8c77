import { setTimeout as sleep } from 'node:timers/promises'
import { createMetadata } from '@flotilla/metadata'
import { makeCall } from '@flotilla/rpc'
import { startRedisCluster } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { numbered, quiet, say, take, textOf } from './fixture.ts'
import { createEventsService } from './service.ts'

const namespaces = numbered(12, 'namespace-')

it('on a Redis Cluster, events of namespaces in different slots come once each, those of a namespace in order', async () => {
  await using stack = new AsyncDisposableStack()
  const cluster = stack.use(await startRedisCluster())
  const service = async (nodeName: string) => {
    const metadata = stack.use(await createMetadata({ url: cluster.url, origin: nodeName }))
    return stack.use(createEventsService({ metadata, nodeName, logger: quiet }))
  }
  const [one, two] = [await service('n1'), await service('n2')]
  for (const namespace of namespaces) await say(one, 'before', namespace)
  // Of namespaces that a process has not heard of, it knows what came before by the millisecond.
  await sleep(5)
  const texts = numbered(20)
  const subscribed = two.subscribe({ filters: [] }, makeCall())[Symbol.asyncIterator]()
  // In effect for what its own process writes next, and when that has come, for what all write.
  const first = subscribed.next()
  await say(two, 'first', namespaces[0])
  expect(textOf((await first).value)).toBe('first')
  const all = take(namespaces.length * texts.length, { [Symbol.asyncIterator]: () => subscribed })
  await Promise.all(
    namespaces.map(async (namespace, index) => {
      for (const text of texts) await say(index % 2 === 0 ? one : two, text, namespace)
    }),
  )
  const seen = await all
  for (const namespace of namespaces)
    expect([namespace, seen.filter((envelope) => envelope.namespace === namespace).map(textOf)]).toEqual([
      namespace,
      texts,
    ])
  const sequences: number[] = []
  for await (const { sequence } of one.log.read({ sequence: 0, filters: [], node: '', follow: false }, makeCall()))
    sequences.push(sequence)
  expect(sequences).toEqual(numbered(namespaces.length * (texts.length + 1) + 1).map((_, index) => index + 1))
}, 60_000)
