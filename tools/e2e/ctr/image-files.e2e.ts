import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { hasThinPools, startThinPool, type TempWorld, tempWorld, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeFixture } from '../harness/fixture.ts'
import { nothingMentions } from '../harness/leftovers.ts'
import { endSharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { versions } from '../harness/versions.ts'

const hasErofs =
  readFileSync('/proc/filesystems', 'utf8').includes('\terofs\n') &&
  spawnSync('mkfs.erofs', ['--help']).error === undefined

// Snapshotters that keep file systems in files, mounted by loop devices, and in thin devices, where the kernel has them.
describe.skipIf(underTest !== 'standalone')('snapshotters of file systems', () => {
  let world: TempWorld
  let system: System
  beforeAll(async () => {
    world = await tempWorld({ name: 'e2e' })
    const [config, scratch] = [world.join('config.toml'), world.join('scratch')]
    writeFileSync(scratch, '')
    truncateSync(scratch, 128 << 20)
    execFileSync('mkfs.ext4', ['-q', scratch])
    const pool = hasThinPools() ? (await startThinPool(world)).name : ''
    writeFileSync(
      config,
      `[blockfile]\nscratch_file = "${scratch}"\n[devmapper]\npool_name = "${pool}"\nbase_image_size = "128M"\n`,
    )
    system = await startStandalone(world, ['--config', config])
  })
  afterAll(async () => {
    await endSharedImage()
    await system?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
    await nothingMentions(world.path)
  })

  const lines = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: 'utf8' }).split('\n')
  const devices = (snapshotter: string) =>
    snapshotter === 'devmapper'
      ? lines('dmsetup', 'ls').filter((device) => device.startsWith(`${basename(world.path)}-pool-`))
      : lines('losetup', '--list', '--noheadings', '--output', 'BACK-FILE').filter(
          (file) => file.includes(world.path) && !file.includes('/thin-'),
        )

  const names = ['blockfile', ...(hasErofs ? ['erofs'] : []), ...(hasThinPools() ? ['devmapper'] : [])]
  const cases = versions.filter(({ present }) => present).flatMap((version) => names.map((name) => ({ name, version })))

  it.each(cases)(
    '$name: an image is unpacked and run, and no device stays, ctr $version.name',
    async ({ name, version }) => {
      await using own = await tempWorld({ name: 'e2e-test' })
      const fixture = await makeFixture(system, version, own)
      const { ctr } = fixture
      const reference = await fixture.pull()
      const snapshotter = ['--snapshotter', name]
      await ctr(...fixture.local('pull', '--plain-http', ...snapshotter, reference))
      const script = 'cat /etc/motd; echo written >/new; cat /new'
      const run = ['run', '--rm', ...snapshotter, reference, 'c', 'sh', '-c', script]
      expect(await ctr(...run)).toBe('hello from a layer\nwritten\n')
      expect(
        await ctr('run', '--rm', ...snapshotter, reference, 'c', 'ls', '/new', '/etc/motd').catch(String),
      ).toContain('/new: No such file')
      const kept = ['run', '--detach', ...snapshotter, reference, 'kept', 'sleep', '600']
      await ctr(...kept)
      expect(devices(name)).not.toEqual([])
      await ctr('tasks', 'rm', '--force', 'kept')
      await ctr('containers', 'rm', 'kept')
      await ctr('images', 'rm', '--sync', reference)
      await until('no device to be left', async () => devices(name).length === 0)
      expect((await ctr('snapshots', ...snapshotter, 'ls')).trim().split('\n')).toHaveLength(1)
      await fixture.finish()
    },
  )
})
