import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import {
  buildImage,
  busyboxEntries,
  digestOf,
  estargzOf,
  type FaultyRegistry,
  type LayerBlob,
  mountsBelow,
  type ServerProcess,
  startFaultyRegistry,
  startServer,
  type TempWorld,
  tempWorld,
  until,
} from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startContainerd } from '../harness/containerd.ts'
import { type Fixture, makeFixture } from '../harness/fixture.ts'
import { finish as finishProgram, startProgram } from '../harness/program.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { debian12, versions } from '../harness/versions.ts'

const version = versions.at(-1) ?? debian12
const program = 'containerd-stargz-grpc'
const isInstalled = (name: string) =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)))

/** Downloads what is read, and nothing else. */
const onlyOnDemand = 'noprefetch = true\nno_background_fetch = true\n[blob]\nforce_single_range_mode = true\n'

// stargz-snapshotter, whose daemon Debian does not have: wherever it is on PATH.
describe.skipIf(underTest === 'services' || !version.present || !isInstalled(program))(
  `lazy pulling by ${program}, when it is on PATH`,
  () => {
    const noise = randomBytes(8 * 1024 * 1024)
    let world: TempWorld
    let registry: FaultyRegistry
    let plugin: ServerProcess
    let system: System
    let layers: LayerBlob[]
    let reference: string

    beforeAll(async () => {
      world = await tempWorld({ tmpfs: true, name: 'e2e' })
      registry = world.own(await startFaultyRegistry({ ranges: true }))
      layers = [
        await estargzOf(busyboxEntries()),
        await estargzOf([
          { name: 'noise', content: noise },
          { name: 'etc/motd', content: 'hello from a layer\n' },
        ]),
      ]
      reference = registry.add('library/lazy:1', await buildImage({ scratch: true, layers }))
      const socket = world.join('plugin.sock')
      await writeFile(world.join('plugin.toml'), onlyOnDemand)
      plugin = world.own(
        await startServer({
          command: program,
          args: ['--address', socket, '--root', world.join('plugin'), '--config', world.join('plugin.toml')],
          log: world.join('plugin.log'),
          ready: () => listens(socket),
        }),
      )
      const plugged = [
        `[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "${socket}"`,
        '[proxy_plugins.stargz.exports]\nenable_remote_snapshot_annotations = "true"',
      ]
      if (underTest === 'containerd') {
        plugged.push('[[plugins."io.containerd.transfer.v1.local".unpack_config]]')
        plugged.push('platform = "linux"\nsnapshotter = "stargz"')
        system = world.own(await startContainerd(world, version, plugged.join('\n')))
      } else {
        const config = world.join('flotilla.toml')
        await writeFile(config, plugged.join('\n'))
        system = world.own(await startStandalone(world, ['--config', config]))
      }
    })
    afterAll(async () => {
      await world?.[Symbol.asyncDispose]()
    })

    /** Bytes of a layer that the registry was asked for. */
    const downloaded = ({ digest, size }: LayerBlob): number => {
      let sum = 0
      for (const { method, path, headers } of registry.requests) {
        if (method !== 'GET' || !path.endsWith(digest)) continue
        const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? []
        sum += from === undefined ? size : Math.min(Number(to) + 1, size) - Number(from)
      }
      return sum
    }

    const top = () => layers[1] as LayerBlob
    const lazily = ['--snapshotter', 'stargz'] as const
    const pull = ({ ctr }: Fixture) => ctr('images', 'pull', '--plain-http', ...lazily, reference)
    const motd = ({ ctr, namespace }: Fixture) =>
      ctr('run', '--rm', ...lazily, reference, namespace, 'cat', '/etc/motd')
    const snapshots = async ({ ctr }: Fixture) => (await ctr('snapshots', ...lazily, 'ls')).trim().split('\n').slice(1)

    /** Removes the image; nothing of it is left, neither here nor there. */
    async function finish(fixture: Fixture): Promise<void> {
      await fixture.ctr('images', 'rm', '--sync', reference)
      expect(await snapshots(fixture)).toEqual([])
      expect(await fixture.ctr('content', 'ls', '-q')).toBe('')
      await until('the other program to have no layer mounted', async () => {
        return (await mountsBelow(world.join('plugin'))).length === 0
      })
      expect(await readdir(world.join('plugin/snapshotter/snapshots'))).toEqual([])
      await fixture.finish()
    }

    it('an image runs before all of it is there, and what is read comes', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const { ctr, namespace } = fixture
      await pull(fixture)
      expect(await snapshots(fixture)).toHaveLength(2)
      const digests = await ctr('content', 'ls', '-q')
      for (const { digest } of layers) expect(digests).not.toContain(digest)
      expect(await motd(fixture)).toBe('hello from a layer\n')
      expect(downloaded(top())).toBeLessThan(noise.length / 10)
      expect(await ctr('run', '--rm', ...lazily, reference, namespace, 'sha256sum', '/noise')).toBe(
        `${digestOf(noise).replace('sha256:', '')}  /noise\n`,
      )
      expect(downloaded(top())).toBeGreaterThan(noise.length)
      await finish(fixture)
    })

    // Of Debian's package stargz-snapshotter: what it does is any client's that pulls by itself.
    it.skipIf(!isInstalled('ctr-remote'))('a client that pulls by itself downloads no layer either', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const before = downloaded(top())
      const args = ['--address', system.address, '--namespace', fixture.namespace]
      const pulling = [...args, 'images', 'rpull', '--plain-http', reference]
      const { code, stdout, stderr } = await finishProgram(
        startProgram('ctr-remote', 'ctr-remote', { args: pulling }),
        { args: pulling },
        undefined,
      )
      expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
      expect(await snapshots(fixture)).toHaveLength(2)
      const digests = await fixture.ctr('content', 'ls', '-q')
      for (const { digest } of layers) expect(digests).not.toContain(digest)
      expect(await motd(fixture)).toBe('hello from a layer\n')
      expect(downloaded(top()) - before).toBeLessThan(noise.length / 10)
      await finish(fixture)
    })

    it('a second namespace has the layers too, and each may go by itself', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const [one, two] = [await makeFixture(system, version, own), await makeFixture(system, version, own)]
      await pull(one)
      await pull(two)
      await one.ctr('images', 'rm', '--sync', reference)
      await one.finish()
      expect(await motd(two)).toBe('hello from a layer\n')
      await finish(two)
    })

    it('containers go on while the daemon is killed, and new ones run after it', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const { ctr, namespace } = fixture
      await pull(fixture)
      const id = `${namespace}-long`
      await ctr('run', '--detach', ...lazily, reference, id, 'sleep', '1000')
      await system.kill()
      await system.start()
      expect(await ctr('tasks', 'exec', '--exec-id', 'e', id, 'cat', '/etc/motd')).toBe('hello from a layer\n')
      expect(await motd(fixture)).toBe('hello from a layer\n')
      await ctr('tasks', 'rm', '--force', id)
      await ctr('containers', 'rm', id)
      await finish(fixture)
    })

    it('labels of a snapshot can be changed, and the program finds its layers again when it is restarted', async () => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      await pull(fixture)
      const mounts = await mountsBelow(world.join('plugin'))
      for (const line of await snapshots(fixture))
        await fixture.ctr('snapshots', ...lazily, 'label', line.split(/\s+/)[0] ?? '', 'some=label')
      await plugin.kill('SIGTERM')
      await plugin.restart()
      expect((await mountsBelow(world.join('plugin'))).sort()).toEqual(mounts.sort())
      expect(await motd(fixture)).toBe('hello from a layer\n')
      await finish(fixture)
    })
  },
)

async function listens(socket: string): Promise<boolean> {
  const client = connect(socket)
  try {
    return await new Promise((resolve) => client.on('connect', () => resolve(true)).on('error', () => resolve(false)))
  } finally {
    client.destroy()
  }
}
