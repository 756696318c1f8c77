import { mkdir, writeFile } from 'node:fs/promises'
import {
  buildImage,
  outsideAddress,
  pushImage,
  startRegistry,
  type TempWorld,
  type TestRegistry,
  tempWorld,
} from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCtr } from '../harness/ctr.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { debian12, versions } from '../harness/versions.ts'

const fine = { stderr: '', code: 0 }
const image = await buildImage({ scratch: true, layers: [[{ name: 'hello', content: 'hello\n' }]] })

// The one whose pulls are the daemon's.
const version = versions.find(({ name, present }) => name === '2.1' && present)

describe.skipIf(underTest !== 'standalone' || version === undefined)(
  'registries that the configuration file knows',
  () => {
    let world: TempWorld
    let registry: TestRegistry
    let ours: System
    let login: string

    const write = (password: string) => {
      const auth = Buffer.from(`${registry.username}:${password}`).toString('base64')
      return writeFile(login, JSON.stringify({ auths: { [registry.host]: { auth } } }))
    }

    beforeAll(async () => {
      world = await tempWorld({ tmpfs: true, name: 'e2e' })
      registry = await startRegistry({ tls: true, address: outsideAddress(), auth: 'basic' })
      const hosts = world.join('certs.d', registry.host)
      await mkdir(hosts, { recursive: true })
      await writeFile(`${hosts}/hosts.toml`, `server = "${registry.url}"\nca = "${registry.caFile}"\n`)
      login = world.join('login.json')
      await write(registry.password)
      const config = world.join('config.toml')
      await writeFile(
        config,
        `[registry]\nconfig_path = "${world.join('certs.d')}"\ndocker_config = "${world.join('login.json')}"\n`,
      )
      ours = await startStandalone(world, ['--config', config])
    })
    afterAll(async () => {
      await ours?.[Symbol.asyncDispose]()
      await registry?.[Symbol.asyncDispose]()
      await world?.[Symbol.asyncDispose]()
    })

    const ctr = (...args: string[]) =>
      runCtr({ address: ours.address, version: version ?? debian12, namespace: 'default', args: ['images', ...args] })

    it('are trusted, and told who we are, without a word of the client', async () => {
      const reference = await pushImage(registry, 'some/hello:1', image)
      expect(await ctr('pull', reference)).toMatchObject(fine)
      const copy = `${registry.host}/other/hello:2`
      await ctr('tag', reference, copy)
      expect(await ctr('push', copy)).toMatchObject(fine)
      const headers = { accept: image.manifest.mediaType }
      const there = await registry.request('/v2/other/hello/manifests/2', { headers })
      expect(there.body.equals(image.manifest.bytes)).toBe(true)
    })

    it('hear first who the client is, and know each login at once', async () => {
      const reference = await pushImage(registry, 'some/hello:1', image)
      const refused = { code: 1, stderr: expect.stringMatching(/authorization failed|401/) }
      expect(await ctr('pull', '--user', 'skipper:wrong', reference)).toMatchObject(refused)
      await write('wrong')
      expect(await ctr('pull', reference)).toMatchObject(refused)
      await write(registry.password)
      expect(await ctr('pull', reference)).toMatchObject(fine)
    })

    it('are read along by a client that asks to, without secrets', async () => {
      const reference = await pushImage(registry, 'some/hello:1', image)
      const { code, stderr } = await ctr('pull', '--http-dump', '--http-trace', reference)
      expect(code).toBe(0)
      expect(stderr).toContain('HEAD /v2/some/hello/manifests/1 HTTP/1.1')
      expect(stderr).toContain('authorization: Basic ***')
      expect(stderr).toMatch(/\* HEAD https:\/\/\S+: 200 after \d+ ms/)
      expect(stderr).not.toContain(Buffer.from(`${registry.username}:${registry.password}`).toString('base64'))
    })
  },
)
