import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { type Blob, buildImage, descriptorOf, type FaultyRegistry, jsonBlob, type TestImage } from '@flotilla/testing'
import type { Fixture } from '../harness/fixture.ts'

/** An image of one layer whose blob is whatever it is: for layers that no tool would make. */
export async function imageOf(layer: Blob, diffId: string): Promise<TestImage> {
  const usual = await buildImage({ scratch: true, layers: [[]] })
  const { config: _, ...rest } = JSON.parse(usual.config.bytes.toString()) as Record<string, unknown>
  const config = jsonBlob(usual.config.mediaType, { ...rest, rootfs: { type: 'layers', diff_ids: [diffId] } })
  const manifest = jsonBlob(usual.manifest.mediaType, {
    schemaVersion: 2,
    mediaType: usual.manifest.mediaType,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  })
  const layers = [{ ...layer, diffId }]
  return { target: manifest, manifest, config, layers, index: undefined, blobs: [layer, config, manifest] }
}

/** Pulls with the snapshotter named; what `ctr` says when that fails. */
export async function refusedPull(fixture: Fixture, reference: string, snapshotter: string): Promise<string> {
  return fixture.refused(...fixture.local('pull', '--plain-http', '--snapshotter', snapshotter, reference))
}

/** Pulls an image and looks at its tree, which is mounted read-only meanwhile. */
export async function withTreeOf<T>(
  { ctr, run, local, world }: Fixture,
  registry: FaultyRegistry,
  image: TestImage,
  snapshotter: string,
  look: (tree: string) => T,
): Promise<T> {
  const reference = registry.add('hostile/image:1', image)
  await ctr(...local('pull', '--plain-http', '--snapshotter', snapshotter, reference))
  const tree = world.join('tree')
  mkdirSync(tree)
  await ctr('images', 'mount', '--snapshotter', snapshotter, reference, tree)
  try {
    return look(tree)
  } finally {
    execFileSync('umount', [tree])
    // Its view has neither label nor lease any more: a collection may have been there first.
    await run(['snapshots', '--snapshotter', snapshotter, 'rm', tree])
  }
}
