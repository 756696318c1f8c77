import { readFileSync } from 'node:fs'
import { buildImage, type Fault, startFaultyRegistry, type TestImage, until } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { suite } from '../harness/suite.ts'
import { expectNothingLeft } from './nothing-left.ts'

const hello = { name: 'hello', content: 'hello\n' }
// Bytes that do not compress, so that half of a layer is something.
const noise = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * index * 31 + (index >> 3)) & 255))
const image = await buildImage({ scratch: true, layers: [[hello, { name: 'noise', content: noise }]] })
const layer = layerOf(image)
const user = { username: 'skipper', password: 'anchor-4711' }
const asUser = ['--user', `${user.username}:${user.password}`]

function layerOf(of: TestImage) {
  const [only] = of.layers
  if (only === undefined) throw new Error('the image has no layer')
  return only
}

/** The same number of other bytes. */
const turned = (bytes: Buffer) => Buffer.from(bytes.map((byte) => byte ^ 1))

interface Spoiled {
  readonly what: string
  readonly path: RegExp
  readonly fault: Fault
  /** What `ctr` says of it, in any of its versions. */
  readonly says: RegExp
}

const [manifest, config, blob] = [/\/manifests\//, new RegExp(image.config.digest), new RegExp(layer.digest)]
const status = (code: number): Fault => ({ kind: 'status', status: code })
const cases: readonly Spoiled[] = [
  { what: 'sends less of a layer than it promised', path: blob, fault: { kind: 'short', bytes: 1000 }, says: /EOF/ },
  { what: 'sends nothing of a layer', path: blob, fault: { kind: 'short', bytes: 0 }, says: /EOF|failed size/ },
  {
    what: 'sends more of a layer than its descriptor says',
    path: blob,
    fault: { kind: 'more', extra: Buffer.from('and more') },
    says: /failed size validation|unexpected commit digest|size/,
  },
  {
    what: 'sends another layer of the same size',
    path: blob,
    fault: { kind: 'other', bytes: turned(layer.bytes) },
    says: /unexpected commit digest sha256:\w+, expected sha256:\w+/,
  },
  {
    what: 'sends a shorter layer, complete in itself',
    path: blob,
    fault: { kind: 'other', bytes: layer.bytes.subarray(0, 500) },
    says: /failed size validation: 500 != \d+|EOF|unexpected/,
  },
  {
    what: 'sends another config',
    path: config,
    fault: { kind: 'other', bytes: turned(image.config.bytes) },
    says: /unexpected commit digest/,
  },
  {
    what: 'sends another manifest than it named',
    path: manifest,
    fault: { kind: 'other', bytes: turned(image.manifest.bytes) },
    says: /unexpected commit digest/,
  },
  { what: 'does not know the image', path: manifest, fault: status(404), says: /not found/ },
  { what: 'does not know a layer', path: blob, fault: status(404), says: /not found/ },
  { what: 'wants no one to have the image', path: manifest, fault: status(401), says: /401|unauthorized|authoriz/i },
  { what: 'wants no one to have a layer', path: blob, fault: status(401), says: /401|unauthorized|authoriz/i },
  { what: 'has had too many requests', path: manifest, fault: status(429), says: /429/ },
  { what: 'has had too many requests for layers', path: blob, fault: status(429), says: /429/ },
  { what: 'breaks', path: manifest, fault: status(500), says: /500/ },
  { what: 'breaks at a layer', path: blob, fault: status(500), says: /500/ },
  {
    what: 'sends the client where nobody is',
    path: blob,
    fault: { kind: 'redirect', to: 'http://localhost:1/gone' },
    says: /connection refused/,
  },
]

suite(
  'a registry',
  ({ test }) => {
    for (const { what, path, fault, says } of cases)
      test(`that ${what}: the pull fails and leaves nothing, and works once it is mended`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const reference = registry.add('some/hello:1', image)
        const mend = registry.fault({ path, fault })
        expect(await fixture.refused(...fixture.local('pull', '--plain-http', reference))).toMatch(says)
        await expectNothingLeft(fixture)
        mend()
        await expectPulled(fixture, reference)
      })

    test('that stalls: ctr gives up at its own time, and nothing is left', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const reference = registry.add('some/hello:1', image)
      const mend = registry.fault({ path: blob, fault: { kind: 'stall', after: 1000 } })
      const pulling = fixture.local('pull', '--plain-http', reference)
      expect(await fixture.refused('--timeout', '4s', ...pulling)).toMatch(/context deadline exceeded|EOF/)
      await expectNothingLeft(fixture)
      mend()
      await expectPulled(fixture, reference)
    })

    test('that stalls: what came is kept while the lease lives, whoever kills ctr', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const reference = registry.add('some/hello:1', image)
      const mend = registry.fault({ path: blob, fault: { kind: 'stall', after: 1000 } })
      const pulling = fixture.start(fixture.local('pull', '--plain-http', reference))
      await until('the layer to have begun to come', async () =>
        (await fixture.ctr('content', 'active')).includes(`layer-${layer.digest}`),
      )
      pulling.child.kill('SIGKILL')
      await pulling.result
      expect(await fixture.ctr('content', 'active')).toContain(`layer-${layer.digest}`)
      expect(await fixture.ctr('images', 'ls', '-q')).toBe('')
      await expectNothingLeft(fixture)
      mend()
      await expectPulled(fixture, reference)
    })

    test('that sends the client to another host for layers: credentials do not go there', async (fixture) => {
      await using registry = await startFaultyRegistry({ basic: user })
      await using elsewhere = await startFaultyRegistry()
      elsewhere.add('some/hello:1', image)
      const reference = registry.add('some/hello:1', image)
      // Another name than the registry's, which is a number: else Go takes both for one host.
      const to = `${elsewhere.url.replace('127.0.0.1', 'localhost')}*`
      registry.fault({ path: blob, method: 'GET', fault: { kind: 'redirect', to } })
      await fixture.ctr(...fixture.local('pull', '--plain-http', ...asUser, reference))
      expect(await fixture.ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
      expect(registry.requests.some(({ headers }) => headers.authorization !== undefined)).toBe(true)
      expect(elsewhere.requests.map(({ path }) => path)).toContain(`/v2/some/hello/blobs/${layer.digest}`)
      expect(elsewhere.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([])
    })

    test('that sends the client to another host which has other bytes: refused', async (fixture) => {
      await using registry = await startFaultyRegistry()
      await using elsewhere = await startFaultyRegistry()
      elsewhere.add('some/hello:1', image)
      elsewhere.fault({ path: blob, fault: { kind: 'other', bytes: turned(layer.bytes) } })
      const reference = registry.add('some/hello:1', image)
      registry.fault({ path: blob, fault: { kind: 'redirect', to: `${elsewhere.url}*` } })
      expect(await fixture.refused(...fixture.local('pull', '--plain-http', reference))).toMatch(
        /unexpected commit digest/,
      )
      await expectNothingLeft(fixture)
    })

    test('that refuses the password: nothing of it is in any log', async (fixture) => {
      await using registry = await startFaultyRegistry({ basic: user })
      const reference = registry.add('some/hello:1', image)
      const wrong = ['--user', 'skipper:wrong-8822']
      expect(await fixture.refused(...fixture.local('pull', '--plain-http', ...wrong, reference))).toMatch(
        /401|unauthorized|authoriz/i,
      )
      await expectNothingLeft(fixture)
      await fixture.ctr(...fixture.local('pull', '--plain-http', ...asUser, reference))
      for (const log of fixture.system.logs) {
        const text = readFileSync(log, 'utf8')
        for (const secret of ['wrong-8822', user.password, Buffer.from(`skipper:${user.password}`).toString('base64')])
          expect(text).not.toContain(secret)
      }
    })
  },
  { versions: ['1.6', '2.1'] },
)

async function expectPulled({ ctr, local }: Fixture, reference: string): Promise<void> {
  await ctr(...local('pull', '--plain-http', reference))
  expect(await ctr('images', 'check', '-q')).toBe(`${reference}\n`)
}
