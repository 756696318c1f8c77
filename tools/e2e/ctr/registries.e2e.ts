import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import {
  buildImage,
  outsideAddress,
  pushImage,
  type RegistryOptions,
  startRegistry,
  type TempWorld,
  type TestRegistry,
} from '@flotilla/testing'
import { expect } from 'vitest'
import { suite } from '../harness/suite.ts'

const image = await buildImage({ scratch: true, layers: [[{ name: 'hello', content: 'hello\n' }]] })

/** A directory of `hosts.toml` files, as `--hosts-dir` wants it. */
function hostsDir(world: TempWorld, registry: TestRegistry): string {
  const dir = world.join('hosts')
  mkdirSync(`${dir}/${registry.host}`, { recursive: true })
  writeFileSync(
    `${dir}/${registry.host}/hosts.toml`,
    `server = "${registry.url}"\n[host."${registry.url}"]\n  capabilities = ["pull", "resolve", "push"]\n` +
      `  ca = "${registry.caFile}"\n`,
  )
  return dir
}

// ctr never checks certificates of a registry on a loopback address, and 1.6 speaks plain HTTP with it.
const tls = { tls: true, address: outsideAddress() }

suite(
  'registries',
  ({ test }) => {
    const kinds: ReadonlyArray<readonly [string, RegistryOptions]> = [
      ['plain HTTP', {}],
      ['plain HTTP with basic auth', { auth: 'basic' }],
      ['plain HTTP with token auth', { auth: 'token' }],
      ['TLS', tls],
      ['TLS with basic auth', { ...tls, auth: 'basic' }],
      ['TLS with token auth', { ...tls, auth: 'token' }],
    ]

    for (const [name, options] of kinds)
      test(`pull from and push to a registry over ${name}`, async ({ ctr, refused, local }) => {
        await using registry = await startRegistry(options)
        const reference = await pushImage(registry, 'some/hello:1', image)
        const transport = options.tls ? ['--tlscacert', registry.caFile ?? ''] : ['--plain-http']
        const user = options.auth ? ['--user', `${registry.username}:${registry.password}`] : []
        if (options.auth) {
          expect(await refused(...local('pull', ...transport, reference))).toMatch(
            /unauthorized|401|authorization failed/i,
          )
          expect(await refused(...local('pull', ...transport, '--user', 'skipper:wrong', reference))).toMatch(
            /unauthorized|401|authorization failed/i,
          )
          expect(await ctr('images', 'ls', '-q')).toBe('')
        }
        await ctr(...local('pull', ...transport, ...user, reference))
        expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
        expect(await ctr('content', 'get', image.config.digest)).toBe(image.config.bytes.toString())
        await ctr(...local('push', ...transport, ...user, `${registry.host}/other/hello:2`, reference))
        const headers = { accept: image.manifest.mediaType }
        const there = await registry.request('/v2/other/hello/manifests/2', { headers })
        expect(there.body.equals(image.manifest.bytes)).toBe(true)
      })

    test('a certificate that nobody vouches for is refused, unless told to look away', async ({
      ctr,
      refused,
      local,
    }) => {
      await using registry = await startRegistry(tls)
      const reference = await pushImage(registry, 'some/hello:1', image)
      expect(await refused(...local('pull', reference))).toMatch(/x509|certificate/)
      await ctr(...local('pull', '--skip-verify', reference))
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
    })

    test('hosts.toml says how to reach a registry', async ({ ctr, local, world }) => {
      await using registry = await startRegistry({ ...tls, auth: 'basic' })
      const reference = await pushImage(registry, 'some/hello:1', image)
      const user = ['--user', `${registry.username}:${registry.password}`]
      const dir = hostsDir(world, registry)
      expect(readFileSync(`${dir}/${registry.host}/hosts.toml`, 'utf8')).toContain('ca =')
      await ctr(...local('pull', '--hosts-dir', dir, ...user, reference))
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
    })

    test('a registry that is not there is named', async ({ refused, local }) => {
      expect(await refused(...local('pull', '--plain-http', '127.0.0.1:1/a:1'))).toMatch(
        /ctr: failed to resolve reference "127\.0\.0\.1:1\/a:1": .*connection refused\n$/,
      )
    })
  },
  { shared: true },
)
