import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { suite } from '../harness/suite.ts'
import { repository } from '../harness/versions.ts'

/** Runs one of the examples of libs/client against the system under test, as its README says. */
function example({ system, namespace }: Fixture, name: string, image = '', ...args: string[]) {
  return promisify(execFile)(process.execPath, [join(repository, 'libs/client/examples', `${name}.ts`), ...args], {
    env: { ...process.env, FLOTILLA_ADDRESS: system.address, FLOTILLA_NAMESPACE: namespace, FLOTILLA_IMAGE: image },
  })
}

suite(
  'examples of the client library',
  ({ test }) => {
    test('run prints what the container printed', async (fixture) => {
      const image = await fixture.pull()
      expect(await example(fixture, 'run', image)).toMatchObject({ stdout: 'hello from a container\n', stderr: '' })
      expect(await fixture.ctr('containers', 'ls', '-q')).toBe('')
    })

    test('exec has its input echoed', async (fixture) => {
      const image = await fixture.pull()
      expect(await example(fixture, 'exec', image)).toMatchObject({ stdout: 'echoed by cat\n', stderr: '' })
      expect(await fixture.ctr('snapshots', 'ls')).not.toContain('Active')
    })

    test('list names images and containers', async (fixture) => {
      const image = await fixture.pull()
      await fixture.ctr('containers', 'create', image, 'one')
      const { stdout } = await example(fixture, 'list')
      expect(stdout).toMatch(/^image \S+ sha256:[0-9a-f]{64}\ncontainer one on \S+\n$/)
      expect(stdout).toContain(`image ${image} `)
    })

    test('events are numbered and decoded', async (fixture) => {
      const image = await fixture.pull()
      const { stdout } = await example(fixture, 'events', '', '0', '1')
      expect(stdout).toMatch(/^\d+ \S+ \S+ \/\S+ \{.*\}\n$/)
      await example(fixture, 'run', image)
    })
  },
  { versions: ['1.6'], shared: true },
)
