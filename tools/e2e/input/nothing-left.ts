import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { rowsOf } from '../harness/output.ts'
import type { System } from '../harness/system.ts'

/**
 * Ends the leases that a client left behind and collects; then no record and no byte may be left of what failed. An
 * image that the client recorded before the failure is the client's to remove: `images` names what it may have left.
 */
export async function expectNothingLeft(fixture: Fixture, options: { images?: readonly string[] } = {}): Promise<void> {
  const { ctr, system } = fixture
  const images = (await ctr('images', 'ls', '-q')).split('\n').filter((name) => name !== '')
  expect(options.images ?? []).toEqual(expect.arrayContaining(images))
  if (images.length > 0) await ctr('images', 'rm', ...images)
  // The daemon may still be at the work of a client that has gone.
  await until('nothing to be left on disk', async () => {
    await collect(fixture)
    const files = await filesOf(system)
    if (files.length > 0) throw new Error(`left:\n${files.join('\n')}`)
    return true
  })
  expect({
    content: await ctr('content', 'ls', '-q'),
    ingests: rowsOf(await ctr('content', 'active')),
    images: await ctr('images', 'ls', '-q'),
    overlayfs: rowsOf(await ctr('snapshots', 'ls')),
    native: rowsOf(await ctr('snapshots', '--snapshotter', 'native', 'ls')),
  }).toEqual({ content: '', ingests: [], images: '', overlayfs: [], native: [] })
}

/** Has everything collected that only leases held. */
export async function collect({ ctr }: Fixture): Promise<void> {
  for (const id of (await ctr('leases', 'ls', '-q')).split('\n').filter((line) => line !== ''))
    await ctr('leases', 'rm', id)
  await ctr('leases', 'create', '--id', 'to-collect')
  await ctr('leases', 'rm', '--sync', 'to-collect')
}

/** Blobs, ingests and snapshot directories below the system's root; a test is alone with its system. */
export async function filesOf({ root }: Pick<System, 'root'>): Promise<string[]> {
  const content = join(root, 'io.containerd.content.v1.content')
  const folders = [
    join(content, 'ingest'),
    join(content, 'blobs/sha256'),
    ...['overlayfs', 'native'].map((name) => join(root, `io.containerd.snapshotter.v1.${name}`, 'snapshots')),
  ]
  const names = await Promise.all(
    folders.map(async (folder) => (await readdir(folder).catch(() => [])).map((name) => join(folder, name))),
  )
  return names.flat()
}
