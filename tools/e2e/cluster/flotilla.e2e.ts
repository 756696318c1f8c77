import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { buildImage } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, fetchesOf, startCluster } from './cluster.ts'

describe('flotilla at the endpoint of one of three nodes', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 120_000)
  afterAll(() => cluster[Symbol.asyncDispose]())

  const flotilla = (args: readonly string[], input?: string) =>
    cluster.flotilla(args, input === undefined ? {} : { input })
  const has = (node: string, digest: string) =>
    existsSync(join(cluster.dir, node, 'root/io.containerd.content.v1.content/blobs/sha256', digest.slice(7)))

  it('lists all nodes', async () => {
    const { stdout } = await flotilla(['nodes', '-o', 'json'])
    expect(
      (JSON.parse(stdout) as Array<{ name: string; status: number }>).map(({ name, status }) => [name, status]),
    ).toEqual([
      ['a', 1],
      ['b', 1],
      ['c', 1],
    ])
  })

  it('brings an image to all of them, each blob once from the registry, and runs it on each', async () => {
    const image = await buildImage({ layers: [[{ name: 'motd', content: 'hello\n' }]], index: true })
    const reference = cluster.registry.add('library/everywhere:1', image)
    const pulled = await flotilla(['pull', '--all-nodes', '--plain-http', reference])
    expect(pulled).toEqual({ code: 0, stdout: 'a done\nb done\nc done\n', stderr: '' })
    for (const layer of image.layers) {
      expect(fetchesOf(cluster.registry).get(layer.digest)).toBe(1)
      for (const node of ['a', 'b', 'c']) expect([node, has(node, layer.digest)]).toEqual([node, true])
    }
    for (const node of ['a', 'b', 'c']) {
      const ran = await flotilla(
        ['run', '-i', '--name', `on-${node}`, '--node', node, reference, 'cat', '/motd', '-'],
        'typed\n',
      )
      expect(ran).toEqual({ code: 0, stdout: 'hello\ntyped\n', stderr: '' })
    }
    const { stdout } = await flotilla(['ps', '--all', '-o', 'json'])
    expect((JSON.parse(stdout) as Array<{ id: string; node: string }>).map(({ id, node }) => [id, node])).toEqual([
      ['on-a', 'a'],
      ['on-b', 'b'],
      ['on-c', 'c'],
    ])
    expect(await flotilla(['rm', '-f', 'on-a', 'on-b', 'on-c'])).toMatchObject({ code: 0, stderr: '' })
  })

  it('has logs of a container of another node, and processes in it', async () => {
    const reference = cluster.registry.add('library/logs:1', await buildImage({}))
    await flotilla(['pull', '--node', 'c', '--plain-http', reference])
    const script = 'echo first; until [ -e /go ]; do sleep 0.1; done; echo last'
    const started = await flotilla(['run', '-d', '--name', 'far', '--node', 'c', reference, 'sh', '-c', script])
    expect(started).toEqual({ code: 0, stdout: 'far\n', stderr: '' })
    expect((await flotilla(['exec', '-i', 'far', 'sh', '-c', 'cat; touch /go; exit 3'], 'in\n')).stdout).toBe('in\n')
    expect(await flotilla(['logs', '-f', 'far'])).toEqual({ code: 0, stdout: 'first\nlast\n', stderr: '' })
    expect(await flotilla(['rm', '-f', 'far'])).toMatchObject({ code: 0, stderr: '' })
  })

  it('pulls to nodes with a label, and says which failed', async () => {
    const image = await buildImage({ layers: [[{ name: 'only', content: 'b' }]] })
    const reference = cluster.registry.add('library/some:1', image)
    const labelled = await flotilla(['pull', '--node-label', 'flotilla.io/os=linux', '--plain-http', reference])
    expect(labelled).toMatchObject({ code: 0, stdout: 'a done\nb done\nc done\n' })
    const none = await flotilla(['pull', '--node-label', 'colour=blue', '--plain-http', reference])
    expect(none).toMatchObject({ code: 3, stdout: '' })
    const missing = await flotilla(['pull', '--all-nodes', '--plain-http', `${cluster.registry.host}/library/no:1`])
    expect(missing.code).toBe(1)
    expect(missing.stdout).toMatch(/^a failed: .*not found.*\nb failed: .*\nc failed: .*\n$/)
  })
})
