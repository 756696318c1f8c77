import { randomBytes } from 'node:crypto'
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { LeasesDefinition, type Resource } from '@flotilla/api/containerd/services/leases/v1/leases'
import { buildImage, type FaultyRegistry, startFaultyRegistry, type TestImage, until } from '@flotilla/testing'
import { describe, expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import type { Fixture } from '../harness/fixture.ts'
import { rowsOf } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'
import { crash, patience } from './places.ts'

const mebibyte = 1024 * 1024
const layerSize = 4 * mebibyte
const image: TestImage = await buildImage({
  scratch: true,
  compression: 'none',
  layers: [[{ name: 'noise', content: randomBytes(layerSize) }]],
})
const layer = image.layers[0]?.digest ?? ''
const concerned = underTest === 'services' ? ['transfer', 'content', 'all'] : ['main']

/** Millions of bytes of the layer that are in the content store. */
async function arrived(ctr: Fixture['ctr']): Promise<number> {
  const row = rowsOf(await ctr('content', 'active')).find(([ref]) => ref?.startsWith('layer-'))
  return Number(/([\d.]+) ?MB/.exec(row?.join(' ') ?? '')?.[1] ?? 0)
}

/** Has a lease of our own keep something. */
async function lease({ system, namespace }: Fixture, resource: Resource): Promise<void> {
  using clients = connectTo(system.address)
  const leases = clients.of(LeasesDefinition)
  await leases.create({ id: 'ours', labels: {} }, callIn(namespace))
  await leases.addResource({ id: 'ours', resource }, callIn(namespace))
}

/** What the snapshots are: `Active`, `Committed`. */
const kinds = async (ctr: Fixture['ctr']) => rowsOf(await ctr('snapshots', 'ls')).map((row) => row.at(-1))

/** A registry that stops in the middle of the layer, until it is told to go on. */
async function stalling(): Promise<{ registry: FaultyRegistry; reference: string; goOn: () => void }> {
  const registry = await startFaultyRegistry({ ranges: true })
  const reference = registry.add('some/noise:1', image)
  const goOn = registry.fault({ path: new RegExp(layer), method: 'GET', fault: { kind: 'stall', after: 3 * mebibyte } })
  return { registry, reference, goOn }
}

const layerRequests = (registry: FaultyRegistry) =>
  registry.requests.filter(({ method, path }) => method === 'GET' && path.includes(layer))

suite(
  'a pull through the daemon',
  ({ test }) => {
    describe.each(concerned)('%s', (place) => {
      test(
        `${place} killed in the middle: the next pull goes on with the bytes that are there`,
        async (fixture) => {
          const { ctr, start, system } = fixture
          const { registry, reference, goOn } = await stalling()
          await using _ = registry
          const first = start(['images', 'pull', '--plain-http', reference])
          await until('half of the layer', async () => (await arrived(ctr)) >= 2)
          // A ctr whose daemon is still there gives up its lease when its pull fails, and the bytes with it.
          await lease(fixture, { type: 'ingests', id: `layer-${layer}` })
          await crash(system, place)
          expect((await first.result).code).not.toBe(0)
          // One that the layer was unpacked into may be there, active; the next pull removes it.
          expect(await kinds(ctr)).not.toContain('Committed')
          goOn()
          const before = layerRequests(registry).length
          await ctr('images', 'pull', '--plain-http', reference)
          expect(layerRequests(registry)[before]?.headers.range).toMatch(/^bytes=[2-9]\d{6}-/)
          expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(2\/2\) .* true$/)
          expect(await kinds(ctr)).toEqual(['Committed'])
        },
        patience,
      )
    })

    test('a layer is unpacked while it comes, and its snapshot is there once all of it is', async ({
      ctr,
      start,
      system,
    }) => {
      const { registry, reference, goOn } = await stalling()
      await using _ = registry
      const first = start(['images', 'pull', '--plain-http', reference])
      const snapshots = join(system.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots')
      await until('half of the file to be in a snapshot', () =>
        readdirSync(snapshots).some((id) => {
          const found = lstatSync(join(snapshots, id, 'fs/noise'), { throwIfNoEntry: false })
          return (found?.size ?? 0) > 2 * mebibyte
        }),
      )
      expect(await kinds(ctr)).toEqual(['Active'])
      first.child.kill('SIGKILL')
      await first.result
      // The client has gone, and with it the pull and what it had unpacked.
      await until('the snapshot to go', async () => rowsOf(await ctr('snapshots', 'ls')).length === 0)
      goOn()
      await ctr('images', 'pull', '--plain-http', reference)
      expect(await kinds(ctr)).toEqual(['Committed'])
    })

    test('interrupted by its user, it leaves nothing once the lease of that ctr is gone', async ({ ctr, start }) => {
      const { registry, reference } = await stalling()
      await using _ = registry
      const first = start(['images', 'pull', '--plain-http', reference])
      await until('half of the layer', async () => (await arrived(ctr)) >= 2)
      first.child.kill('SIGINT')
      await first.result
      // An interrupted ctr leaves its lease behind, with a day to live: until then the next pull can go on.
      const leases = (await ctr('leases', 'ls', '-q')).split('\n').filter((id) => id !== '')
      expect(leases.length).toBe(1)
      await ctr('leases', 'rm', ...leases)
      await until('everything to be collected', async () => {
        for (const [what, ...args] of [
          ['leases', 'ls', '-q'],
          ['content', 'ls', '-q'],
          ['images', 'ls', '-q'],
        ] as const)
          expect(await ctr(what, ...args)).toBe('')
        expect(rowsOf(await ctr('content', 'active'))).toEqual([])
        expect(rowsOf(await ctr('snapshots', 'ls'))).toEqual([])
        return true
      })
    })

    test('with other bytes than the manifest says, it fails and leaves nothing', async ({ ctr, refused }) => {
      await using registry = await startFaultyRegistry({ ranges: true })
      const reference = registry.add('some/noise:1', image)
      const other = { kind: 'other', bytes: randomBytes(image.layers[0]?.size ?? 0) } as const
      const mend = registry.fault({ path: new RegExp(layer), method: 'GET', fault: other })
      expect(await refused('images', 'pull', '--plain-http', reference)).toMatch(
        new RegExp(`unexpected commit digest sha256:\\w+, expected ${layer}`),
      )
      expect(rowsOf(await ctr('snapshots', 'ls'))).toEqual([])
      expect(await ctr('images', 'ls', '-q')).toBe('')
      mend()
      await ctr('images', 'pull', '--plain-http', reference)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(2\/2\) .* true$/)
    })

    test('twice at once, it downloads each blob once', async ({ ctr, start }) => {
      const { registry, reference, goOn } = await stalling()
      await using _ = registry
      const pull = () => start(['images', 'pull', '--plain-http', reference])
      const first = pull()
      await until('a part of the layer', async () => (await arrived(ctr)) >= 2)
      const others = [pull(), pull()]
      const resolved = () => registry.requests.filter(({ path }) => path.endsWith('/manifests/1')).length
      await until('all to know what they pull', () => resolved() >= 3)
      expect(layerRequests(registry).length).toBe(1)
      // The connection that stalls is given up by its user, the others go on where it ended.
      goOn()
      first.child.kill('SIGINT')
      for (const other of others) expect((await other.result).code).toBe(0)
      await first.result
      expect(layerRequests(registry).length).toBe(2)
      expect(layerRequests(registry)[1]?.headers.range).toMatch(/^bytes=[2-9]\d{6}-/)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(2\/2\) .* true$/)
    })
  },
  { versions: ['2.1'] },
)
