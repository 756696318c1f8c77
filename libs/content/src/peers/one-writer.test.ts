import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ContentService } from '../index.ts'
import { digestOf } from '../testing/blobs.ts'
import { type ContentWorld, contentWorld } from '../testing/world.ts'

const names = ['one', 'two', 'three']

describe('an ingest that three nodes open at the same moment', () => {
  let world: ContentWorld
  const services = new Map<string, ContentService>()
  const of = (name: string): ContentService => {
    const service = services.get(name)
    if (service === undefined) throw new Error(`there is no node ${name}`)
    return service
  }
  beforeAll(async () => {
    world = await contentWorld()
    for (const nodeName of names) {
      const root = world.world.join(nodeName)
      await mkdir(root, { recursive: true })
      const peers = {
        ready: async () => names,
        isReady: async () => true,
        blobs: (name: string) => of(name).forPeers,
        local: (name: string) => of(name).blobs,
        source: async () => undefined,
      }
      services.set(nodeName, await world.open({ root, nodeName, peers }))
    }
  })
  afterAll(async () => {
    for (const service of services.values()) await service[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  /** Whether it may write. */
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

  it('has one writer; the others are told to wait', async () => {
    for (let round = 0; round < 100; round++) {
      const digest = digestOf(String(round))
      const begin = async (name: string, index: number) => {
        // Not in step, so that one looks while another writes.
        await sleep((round / 10 + index * 7) % 9)
        return await opens(of(name).content, `layer-${digest}`, digest)
      }
      const writers = await Promise.all(names.map(begin))
      const open = writers.filter((writer) => writer !== undefined)
      expect(open).toHaveLength(1)
      for (const writer of open) await writer.end()
    }
  })
})
