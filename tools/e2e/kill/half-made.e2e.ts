import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { buildImage, mountsBelow, pushImage, until } from '@flotilla/testing'
import { describe, expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import type { RunningCtr } from '../harness/ctr.ts'
import type { Fixture } from '../harness/fixture.ts'
import { rowsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'
import { type System, underTest } from '../harness/system.ts'
import { kinds } from './kinds.ts'
import { Caller } from './load.ts'
import { crash, patience, takeAway } from './places.ts'

/** Files in a layer whose unpacking takes long enough to be cut. */
const files = 6_000
const appliers = underTest === 'services' ? ['diff', 'node-agent', 'snapshots', 'content', 'gateway', 'all'] : ['main']
const makers =
  underTest === 'services' ? ['node-agent', 'snapshots', 'content', 'leases', 'redis-server'] : ['main', 'redis-server']
/** Milliseconds that a directory without a record is let be, since its record may be on its way. */
const protection = 60_000

const snapshotDirectories = (system: System) => join(system.root, 'io.containerd.snapshotter.v1.overlayfs', 'snapshots')
const blobDirectory = (system: System) => join(system.root, 'io.containerd.content.v1.content', 'blobs/sha256')

/** How many files of ours there are in each snapshot that has some. */
function unpacked(system: System): number[] {
  const home = snapshotDirectories(system)
  const counts = readdirSync(home).map((id) => {
    const target = join(home, id, 'fs/many')
    return existsSync(target) ? readdirSync(target).length : 0
  })
  return counts.filter((count) => count > 0)
}

/** Whether a layer of ours is being unpacked, and far from done. */
const isHalfWay = (system: System): boolean => unpacked(system).some((count) => count > files / 20 && count < files / 2)

/** Begins to pull an image, and comes back while its layer is being unpacked. */
async function pullHalfWay({ ctr, local, start, system }: Fixture, reference: string): Promise<RunningCtr> {
  for (let attempt = 1; ; attempt++) {
    const pulling = start(local('pull', '--plain-http', reference))
    try {
      const dead = () => (pulling.child.exitCode === null ? undefined : 'the pull was over')
      await until('a layer half unpacked', () => isHalfWay(system), { every: 1, dead })
      return pulling
    } catch (error) {
      // A busy machine may not have let us look in time.
      if (attempt === 5 || (await pulling.result).code !== 0) throw error
      await ctr('images', 'rm', '--sync', reference)
    }
  }
}

suite(
  'half-made things',
  ({ test }) => {
    describe.each(appliers)('%s', (place) => {
      test(
        `${place} killed while a layer is applied: nothing of it is left, and a pull makes it whole`,
        async (fixture) => {
          const { ctr, run, local, system } = fixture
          const { registry } = await sharedImage()
          const entries = Array.from({ length: files }, (_, n) => ({ name: `many/${n}`, content: `${place} ${n}\n` }))
          const reference = await pushImage(registry, `library/many:${place}`, await buildImage({ layers: [entries] }))

          const pulling = await pullHalfWay(fixture, reference)
          const back = await takeAway(system, place)
          await back()
          const { code } = await pulling.result

          const committed = rowsOf(await ctr('snapshots', 'ls')).filter((row) => row.at(-1) === 'Committed')
          // What was back before it was asked again did no harm, and content may have given all of the layer already, and
          // be missed only later; else only the layer below, of busybox, can be done. A layer that is done is whole.
          expect(committed.length).toBeLessThanOrEqual(code === 0 || place === 'content' ? 2 : 1)
          if (committed.length === 2) expect(unpacked(system)).toEqual([files])
          for (const lease of (await ctr('leases', 'ls', '-q')).split('\n').filter(Boolean))
            await ctr('leases', 'rm', lease)
          await run(['images', 'rm', reference])
          await collect(system, fixture.namespace)
          expect(rowsOf(await ctr('snapshots', 'ls'))).toEqual([])
          expect(await ctr('content', 'ls', '-q')).toBe('')
          expect(await mountsBelow(system.root)).toEqual([])
          expect(await mountsBelow(system.state)).toEqual([])

          await ctr(...local('pull', '--plain-http', reference))
          const count = `ls /many | wc -l; cat /many/* | sort -u | wc -l`
          expect(await ctr('run', '--rm', reference, 'one', 'sh', '-c', count)).toBe(`${files}\n${files}\n`)
        },
        patience,
      )
    })

    test(
      'killed while snapshots and blobs are made: what has no record goes from the disk',
      async (fixture) => {
        const { system, namespace } = fixture
        using clients = connectTo(system.address)
        const concerned = kinds.filter(({ name }) => name === 'snapshots' || name === 'content')
        const callers = concerned.flatMap((kind) =>
          Array.from({ length: 4 }, (_, n) => new Caller(kind, clients, namespace, `${kind.name}${n}`)),
        )
        for (const place of [...makers, ...makers]) {
          const stop = new AbortController()
          const work = Promise.all(callers.map((caller) => caller.work(stop.signal)))
          work.catch(() => {})
          await sleep(200 * Math.random())
          await crash(system, place)
          stop.abort()
          await work
        }
        await sleep(protection)
        // The comparison of disk and records is made by the first collection after a start.
        await crash(system, 'all')
        await collect(system, namespace)
        for (const kind of concerned) {
          const listed = (await kind.list(clients, callIn(namespace))).size
          const home = kind.name === 'snapshots' ? snapshotDirectories(system) : blobDirectory(system)
          expect(listed).toBeGreaterThan(0)
          // What was half made or half removed goes in the background.
          await until(`${listed} names in ${home}`, () => {
            const names = readdirSync(home)
            if (names.length > listed) throw new Error(names.join(' '))
            return true
          })
          expect(readdirSync(home)).toHaveLength(listed)
        }
      },
      patience + protection,
    )
  },
  { versions: ['1.6'] },
)

/** A collection that began now has ended. */
async function collect(system: System, namespace: string): Promise<void> {
  using clients = connectTo(system.address)
  await clients.of(LeasesDefinition).create({ id: 'last', labels: {} }, callIn(namespace))
  await clients.of(LeasesDefinition).delete({ id: 'last', sync: true }, callIn(namespace))
}
