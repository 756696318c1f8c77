import { randomBytes } from 'node:crypto'
import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { digestOf, until } from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { describe, expect } from 'vitest'
import { type Clients, callIn, collect, connectTo, refusalOf } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'
import { crash, patience } from './places.ts'

const part = 64 * 1024
const concerned = underTest === 'services' ? ['content', 'gateway', 'redis-server', 'all'] : ['main', 'redis-server']

/** Opens the ref again, once nobody else writes it, and tells how much of it there is. */
async function resume(clients: Clients, namespace: string, ref: string, total: number) {
  return until('the ref to be free', async () => {
    const writer = contentWriter(clients.of(ContentDefinition), callIn(namespace))
    const { offset } = await writer.send({ action: WriteAction.STAT, ref, total })
    return { writer, offset }
  })
}

async function read(clients: Clients, namespace: string, digest: string): Promise<Buffer> {
  const request = { digest, offset: 0, size: 0 }
  const parts = await collect(clients.of(ContentDefinition).read(request, callIn(namespace)))
  return Buffer.concat(parts.map(({ data }) => data))
}

suite(
  'a half-written blob',
  ({ test }) => {
    describe.each(concerned)('%s', (place) => {
      test(
        `${place} killed: what was acknowledged is there, and the rest can follow`,
        async ({ system, namespace }) => {
          using clients = connectTo(system.address)
          const blob = randomBytes(10 * part)
          const digest = digestOf(blob)
          const writer = contentWriter(clients.of(ContentDefinition), callIn(namespace))
          const common = { ref: 'half', total: blob.length }
          let acknowledged = 0
          for (const _ of [1, 2, 3]) {
            const data = blob.subarray(acknowledged, acknowledged + part)
            const answer = await writer.send({ ...common, action: WriteAction.WRITE, offset: acknowledged, data })
            acknowledged = answer.offset
          }
          await crash(system, place)
          if (place === 'redis-server') await writer.end()

          const statuses = await clients.of(ContentDefinition).listStatuses({ filters: [] }, callIn(namespace))
          expect(statuses.statuses).toMatchObject([{ ref: 'half', offset: acknowledged, total: blob.length }])
          expect(await refusalOf(clients.of(ContentDefinition).info({ digest }, callIn(namespace)))).toMatchObject({
            message: expect.stringContaining('not found'),
          })
          const { writer: second, offset } = await resume(clients, namespace, 'half', blob.length)
          expect(offset).toBe(acknowledged)
          const data = blob.subarray(offset)
          await second.send({ ...common, action: WriteAction.COMMIT, offset, data, expected: digest })
          await second.end()
          expect((await read(clients, namespace, digest)).equals(blob)).toBe(true)
          expect(await clients.of(ContentDefinition).listStatuses({ filters: [] }, callIn(namespace))).toEqual({
            statuses: [],
          })
        },
        patience,
      )

      test(
        `${place} killed again and again in the middle of writes: the blob becomes whole`,
        async (fixture) => {
          const { system, namespace } = fixture
          using clients = connectTo(system.address)
          const blob = randomBytes(200 * part)
          const digest = digestOf(blob)
          const common = { ref: 'often', total: blob.length }
          let acknowledged = 0
          for (let kill = 0; kill < 4; kill++) {
            const { writer, offset } = await resume(clients, namespace, 'often', blob.length)
            expect(offset).toBeGreaterThanOrEqual(acknowledged)
            const target = offset + 20 * part
            acknowledged = offset
            let gone: Promise<void> | undefined
            try {
              while (acknowledged < target) {
                // Killed while writes are under way, not between them.
                if (acknowledged >= offset + 10 * part) gone ??= crash(system, place)
                const data = blob.subarray(acknowledged, acknowledged + part)
                const answer = await writer.send({ ...common, action: WriteAction.WRITE, offset: acknowledged, data })
                acknowledged = answer.offset
              }
              await writer.end()
            } catch {
              // As it should be.
            }
            await gone
          }
          const { writer, offset } = await resume(clients, namespace, 'often', blob.length)
          expect(offset).toBeGreaterThanOrEqual(acknowledged)
          for (let at = offset; at < blob.length; at += part) {
            const data = blob.subarray(at, at + part)
            await writer.send({ ...common, action: WriteAction.WRITE, offset: at, data })
          }
          await writer.send({ ...common, action: WriteAction.COMMIT, offset: blob.length, expected: digest })
          await writer.end()
          expect((await read(clients, namespace, digest)).equals(blob)).toBe(true)
        },
        patience,
      )
    })
  },
  { versions: ['1.6'] },
)
