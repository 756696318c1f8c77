import { writeFile } from 'node:fs/promises'
import { type TempWorld, tempWorld, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startContainerd } from '../harness/containerd.ts'
import { runCtr } from '../harness/ctr.ts'
import { makeFixture } from '../harness/fixture.ts'
import { endSharedImage, sharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { debian12, versions } from '../harness/versions.ts'

const newest = versions.at(-1) ?? debian12

// A real containerd plays the plugin: it serves the same API.
describe.skipIf(underTest !== 'standalone')('proxy plugins', () => {
  let plugin: System
  let ours: System
  const worlds: TempWorld[] = []

  beforeAll(async () => {
    const [behind, world] = [
      await tempWorld({ tmpfs: true, name: 'e2e' }),
      await tempWorld({ tmpfs: true, name: 'e2e' }),
    ]
    worlds.push(behind, world)
    plugin = await startContainerd(behind, debian12)
    const config = world.join('config.toml')
    await writeFile(
      config,
      [
        `[proxy_plugins.native]\ntype = "snapshot"\naddress = "${plugin.address}"`,
        '[proxy_plugins.native.exports]\nroot = "/elsewhere"',
        `[proxy_plugins.bytes]\ntype = "content"\naddress = "${plugin.address}"`,
      ].join('\n'),
    )
    ours = await startStandalone(world, ['--config', config])
  })
  afterAll(async () => {
    await endSharedImage()
    await ours?.[Symbol.asyncDispose]()
    await plugin?.[Symbol.asyncDispose]()
    for (const world of worlds) await world[Symbol.asyncDispose]()
  })

  /** Asks the other program by `ctr`. */
  const ctrBehind = async (namespace: string, ...args: string[]) => {
    const { code, stdout, stderr } = await runCtr({ address: plugin.address, version: debian12, namespace, args })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    return stdout
  }

  /** The digests, or the refs, that the other program has of ours. */
  const bytesBehind = async (...args: string[]) => {
    const stdout = await ctrBehind('flotilla', 'content', ...args)
    return stdout.split('\n').filter((line) => line !== '')
  }

  /** Runs the other program's collector. */
  const collectBehind = async () => {
    await ctrBehind('flotilla', 'leases', 'create', '--id', 'passing')
    await ctrBehind('flotilla', 'leases', 'rm', '--sync', 'passing')
  }

  const behind = async (namespace: string) => {
    const stdout = await ctrBehind(namespace, 'snapshots', '--snapshotter', 'native', 'ls')
    return stdout
      .split('\n')
      .slice(1)
      .map((line) => line.split(/\s+/)[0] ?? '')
      .filter((name) => name !== '')
  }

  it('an image is unpacked and run on the snapshots of another program, and nothing stays there', async () => {
    await using own = await tempWorld({ name: 'e2e-test' })
    const fixture = await makeFixture(ours, debian12, own)
    const { ctr, local, namespace } = fixture
    expect(await ctr('plugins', 'ls')).toMatch(/io\.containerd\.snapshotter\.v1 +native .*ok/)
    const { reference } = await sharedImage()
    await ctr(...local('pull', '--plain-http', '--snapshotter', 'native', reference))
    expect(await ctr('run', '--rm', '--snapshotter', 'native', reference, 'c', 'echo', 'hello')).toContain('hello')
    const names = await behind(namespace)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) expect(name).toMatch(new RegExp(`^${namespace}/[0-9]+/`))
    expect(await ctr('plugins', 'ls')).toMatch(/io\.containerd\.content\.v1 +bytes .*ok/)
    const digests = (await ctr('content', 'ls', '-q')).trim().split('\n').sort()
    expect((await bytesBehind('ls', '-q')).sort()).toEqual(digests)
    // Its own collector must leave them to us.
    await collectBehind()
    expect((await bytesBehind('ls', '-q')).sort()).toEqual(digests)
    expect(await behind(namespace)).toEqual(names)
    expect(await ctr('run', '--rm', '--snapshotter', 'native', reference, 'd', 'echo', 'again')).toContain('again')
    for (const digest of digests) expect(await ctr('content', 'get', digest)).not.toBe('')
    await ctr('images', 'rm', '--sync', reference)
    await until('the other program to have no blob any more', async () => (await bytesBehind('ls', '-q')).length === 0)
    expect(await bytesBehind('active')).toHaveLength(1)
    await until('the other program to have no snapshot any more', async () => (await behind(namespace)).length === 0)
    await fixture.finish()
  })

  it.skipIf(!newest.present)('the daemon pulls and unpacks by itself into another program', async () => {
    await using own = await tempWorld({ name: 'e2e-test' })
    const fixture = await makeFixture(ours, newest, own)
    const { ctr } = fixture
    const { reference } = await sharedImage()
    await ctr('images', 'pull', '--plain-http', reference)
    expect(await ctr('run', '--rm', reference, 'c', 'cat', '/etc/motd')).toBe('hello from a layer\n')
    const digests = (await ctr('content', 'ls', '-q')).trim().split('\n').sort()
    expect((await bytesBehind('ls', '-q')).sort()).toEqual(digests)
    await ctr('images', 'rm', '--sync', reference)
    await until('the other program to have no blob any more', async () => (await bytesBehind('ls', '-q')).length === 0)
    await fixture.finish()
  })
})
