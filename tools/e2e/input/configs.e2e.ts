import { readdirSync } from 'node:fs'
import { buildImage, type ContainerConfig, startFaultyRegistry } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'
import { expectNothingLeft } from './nothing-left.ts'

/** Pulls an image with that config from a registry of its own, and gives its name. */
async function pull(fixture: Fixture, config: ContainerConfig): Promise<string> {
  await using registry = await startFaultyRegistry()
  const reference = registry.add('hostile/config:1', await buildImage({ config }))
  await fixture.ctr(...fixture.local('pull', '--plain-http', reference))
  return reference
}

suite('an image config', ({ test, version }) => {
  test('that names volumes with .. makes nothing anywhere', async (fixture) => {
    const canary = fixture.world.join('volume')
    const Volumes = { [`/../../../../../..${canary}`]: {}, '../../../../x': {}, '/etc/../..': {} }
    const reference = await pull(fixture, { Volumes })
    expect(await fixture.ctr('run', '--rm', reference, 'one', 'echo', 'ran')).toBe('ran\n')
    expect(readdirSync(fixture.world.path)).toEqual([])
  })

  for (const User of ['../../etc/passwd', '../root:../root', '-1', '4294967296', 'root:nobody:root'])
    test(`that names the user ${User} runs nothing`, async (fixture) => {
      const reference = await pull(fixture, { User })
      expect(await fixture.refused('run', '--rm', reference, 'one', 'id')).toMatch(
        /no users found|invalid|failed to|format|range/,
      )
      expect(await fixture.ctr('tasks', 'ls', '-q')).toBe('')
      expect(await fixture.ctr('containers', 'ls', '-q')).toBe('')
    })

  test('that names a working directory with .. stays inside', async (fixture) => {
    const reference = await pull(fixture, { WorkingDir: '/../../../../tmp/../nowhere' })
    const { code, stdout } = await fixture.run(['run', '--rm', reference, 'one', 'pwd'])
    if (code === 0) expect(stdout).toBe('/nowhere\n')
  })

  test('cannot put labels of ours on anything', async (fixture) => {
    const Labels = {
      'containerd.io/gc.root': 'for ever',
      'containerd.io/gc.ref.content.0': `sha256:${'a'.repeat(64)}`,
      'containerd.io/gc.expire': '2001-01-01T00:00:00Z',
      'io.cri-containerd.kind': 'sandbox',
      'flotilla.io/node': 'elsewhere',
      colour: 'blue',
    }
    const reference = await pull(fixture, { Labels })
    await fixture.ctr('run', '-d', reference, 'one', 'sleep', '1000')
    const { Labels: given } = JSON.parse(await fixture.ctr('containers', 'info', 'one')) as {
      Labels: Record<string, string>
    }
    expect(given).toMatchObject({ colour: 'blue' })
    // Older versions of ctr ask for the reserved ones, too; 2.1 does not.
    if (version.name === '2.1')
      expect(Object.keys(given).filter((key) => /^(containerd\.io|io\.cri-containerd)/.test(key))).toEqual([])
    // Where a container runs is not the image's to say.
    if (underTest !== 'containerd') expect(given['flotilla.io/node']).not.toBe('elsewhere')
    const all = [
      await fixture.ctr('images', 'ls'),
      await fixture.ctr('content', 'ls'),
      ...(await Promise.all(
        (
          await fixture.ctr('snapshots', 'ls')
        )
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => fixture.ctr('snapshots', 'info', line.split(/\s+/)[0] ?? '')),
      )),
    ].join('\n')
    expect(all).not.toMatch(/for ever|2001-01-01|cri-containerd|elsewhere|colour|gc\.ref\.content\.0=sha256:a/)
    // Nor does an expiry or a root of the image's own change what lives how long.
    await fixture.ctr('tasks', 'rm', '--force', 'one')
    await fixture.ctr('containers', 'rm', 'one')
    expect(await fixture.ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
    await fixture.ctr('images', 'rm', reference)
    await expectNothingLeft(fixture)
  })

  test('with a label that is too long makes no container, and says which', async (fixture) => {
    const reference = await pull(fixture, { Labels: { [`long-${'k'.repeat(100)}`]: 'v'.repeat(4096) } })
    expect(await fixture.refused('run', '--rm', reference, 'one', 'true')).toMatch(
      /label key and value.*greater than maximum size|long-k/,
    )
    expect(await fixture.ctr('containers', 'ls', '-q')).toBe('')
  })
})
