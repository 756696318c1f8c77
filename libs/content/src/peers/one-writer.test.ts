import { setTimeout as sleep } from 'node:timers/promises'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { expect, it } from 'vitest'
import { digestOf } from '../testing/blobs.ts'
import { contentNodes } from '../testing/nodes.ts'

/** Its writer, if it may write. */
async function opens(content: ServiceOf<typeof ContentDefinition>, ref: string, expected: string) {
  const writer = contentWriter(content, makeCall({ namespace: 'ns' }))
  try {
    await writer.send({ ref, expected, total: 3 })
    return writer
  } catch (error) {
    if (!hasCode(error, status.UNAVAILABLE)) throw error
    return undefined
  }
}

it('an ingest that three nodes open at about the same moment has one writer; the others are told to wait', async () => {
  await using nodes = await contentNodes(['one', 'two', 'three'])
  for (let round = 0; round < 100; round++) {
    const digest = digestOf(String(round))
    const begin = async (name: string, index: number) => {
      // Not in step, so that one looks while another writes.
      await sleep((round / 10 + index * 7) % 9)
      return await opens(nodes.of(name).content, `layer-${digest}`, digest)
    }
    const writers = await Promise.all(nodes.names.map(begin))
    const open = writers.filter((writer) => writer !== undefined)
    expect(open).toHaveLength(1)
    for (const writer of open) await writer.end()
  }
})
