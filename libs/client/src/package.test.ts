import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tempWorld } from '@flotilla/testing'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const home = join(import.meta.dirname, '..')
const modules = join(home, '../../node_modules')

/** What somebody who installed the package writes. */
const program = `
import { createClient, hasCode, run, status } from '@flotilla/client'
using client = createClient({ address: '/nowhere.sock' })
try {
  const { images } = await client.images.list({}, { timeout: 5_000 })
  const name: string = images[0]!.name
  // @ts-expect-error there is no such field
  images[0]!.colour
  await run(client, { image: name })
} catch (error) {
  console.log(hasCode(error, status.UNAVAILABLE))
}
`

it('the published package works and has types, outside of this repository', async () => {
  await using world = await tempWorld({ name: 'client' })
  const installed = world.join('node_modules/@flotilla/client')
  await run(process.execPath, [join(home, 'build.mjs'), installed])
  const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  expect(Object.values(dependencies).every((version) => /^\^\d/.test(version))).toBe(true)
  // What it needs, as npm would put it there; nothing else of this repository's.
  for (const name of [...Object.keys(dependencies), '@types/node', 'undici-types']) {
    await mkdir(join(world.path, 'node_modules', name, '..'), { recursive: true })
    await symlink(join(modules, name), join(world.path, 'node_modules', name))
  }
  await writeFile(world.join('package.json'), '{"type":"module"}')
  await writeFile(world.join('use.ts'), program)
  const strict = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,esnext']
  await run(join(modules, '.bin/tsc'), [...strict, '--types', 'node', 'use.ts'], { cwd: world.path })
  expect((await run(process.execPath, ['use.ts'], { cwd: world.path })).stdout).toBe('true\n')
  expect((await readdir(installed)).sort()).toEqual(['README.md', 'index.js', 'index.js.map', 'package.json', 'types'])
})
