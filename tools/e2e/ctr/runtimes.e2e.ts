import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { buildImage, pushImage, type TempWorld, tempWorld } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeFixture } from '../harness/fixture.ts'
import { endSharedImage, sharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { versions } from '../harness/versions.ts'

// Debian's runc shim under other names plays the foreign ones.
const shim = '/usr/bin/containerd-shim-runc-v2'
const gvisor = '/usr/bin/runsc'

describe.skipIf(underTest !== 'standalone')('runtimes that are not runc', () => {
  let world: TempWorld
  let system: System
  beforeAll(async () => {
    world = await tempWorld({ name: 'e2e' })
    const config = world.join('config.toml')
    writeFileSync(config, `[opt]\npath = "${world.join('opt')}"\n`)
    system = await startStandalone(world, ['--config', config])
  })
  afterAll(async () => {
    await endSharedImage()
    await system?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  describe.each(versions.filter(({ present }) => present))('ctr $name', (version) => {
    it('a shim that `ctr install` brought is found by its name', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const { ctr, refused } = fixture
      const name = `brought${version.name.replace('.', '')}`
      const runtime = ['--runtime', `io.containerd.${name}.v2`]
      const reference = await fixture.pull()
      expect(await refused('run', '--rm', ...runtime, reference, 'c', 'true')).toContain(
        `binary not installed "containerd-shim-${name}-v2"`,
      )
      const file = { name: `bin/containerd-shim-${name}-v2`, mode: 0o755, content: readFileSync(shim) }
      const image = await buildImage({ scratch: true, layers: [[file]] })
      const { registry } = await sharedImage()
      const tools = await pushImage(registry, `library/tools:${name}`, image)
      await ctr(...fixture.local('pull', '--plain-http', tools))
      await ctr('install', tools)
      expect(await ctr('run', '--rm', ...runtime, reference, 'c', 'echo', 'hello')).toBe('hello\n')
      await fixture.finish()
    })

    // gVisor in place of runc, where Debian's package is installed.
    it.skipIf(!existsSync(gvisor))('the runc shim runs another runtime than runc', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const reference = await fixture.pull()
      // It has a network of its own, which needs an interface that a test has not.
      const program = own.join('runsc')
      writeFileSync(program, `#!/bin/sh\nexec ${gvisor} --network=none "$@"\n`, { mode: 0o755 })
      const run = ['run', '--rm', '--runc-binary', program, reference, fixture.namespace, 'dmesg']
      expect(await fixture.ctr(...run)).toContain('Starting gVisor')
      await fixture.finish()
    })

    it('a shim is taken by its absolute path', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const reference = await fixture.pull()
      const path = own.join('some-shim')
      copyFileSync(shim, path)
      const run = ['run', '--rm', '--runtime', path, reference, 'c', 'echo', 'hello']
      expect(await fixture.ctr(...run)).toBe('hello\n')
      await fixture.finish()
    })
  })
})
