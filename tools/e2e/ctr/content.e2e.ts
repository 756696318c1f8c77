import { digestOf, until } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { labelsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

/**
 * Ingests bytes and keeps them. `ctr content ingest` takes no lease and sets no label, so a collection may be faster
 * than the label that follows; then once more.
 */
async function keep({ run }: Fixture, bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes)
  await until('an ingested blob to be kept', async () => {
    expect(await run(['content', 'ingest', 'some-ref'], { input: bytes })).toMatchObject({ code: 0, stderr: '' })
    return (await run(['content', 'label', digest, 'containerd.io/gc.root=test'])).code === 0
  })
  return digest
}

suite(
  'content',
  ({ test, version }) => {
    const bytes = Buffer.from('some bytes of ours')
    const digest = digestOf(bytes)
    const size = String(bytes.length)
    const absent = `sha256:${'0'.repeat(64)}`

    test('ingest takes bytes from standard input, ls and get show them', async (fixture) => {
      const { ctr, run } = fixture
      const args = ['content', 'ingest', '--expected-size', size, '--expected-digest', digest, 'some-ref']
      expect(await run(args, { input: bytes })).toMatchObject({ code: 0, stderr: '' })
      await keep(fixture, bytes)
      expect(await ctr('content', 'ls', '-q')).toBe(`${digest}\n`)
      expect(await ctr('content', 'ls')).toMatch(
        new RegExp(`^DIGEST\t+SIZE\tAGE\t+LABELS\n${digest}\t18B\t.*\tcontainerd.io/gc.root=test\n$`),
      )
      expect(await ctr('content', 'get', digest)).toBe(bytes.toString())
    })

    test('ingest with a wrong digest leaves no blob', async ({ ctr, run }) => {
      const args = ['content', 'ingest', '--expected-size', size, '--expected-digest', absent, 'some-ref']
      const { code, stderr } = await run(args, { input: bytes })
      expect(code).toBe(1)
      expect(stderr).toMatch(new RegExp(`unexpected commit digest ${digest}, expected ${absent}: failed precondition`))
      expect(await ctr('content', 'ls', '-q')).toBe('')
    })

    test('ingest of fewer bytes than promised fails', async ({ ctr, run }) => {
      const args = ['content', 'ingest', '--expected-size', '100', '--expected-digest', absent, 'some-ref']
      const { code, stderr } = await run(args, { input: bytes })
      expect(code).toBe(1)
      expect(stderr).toMatch(/unexpected EOF|short read|failed size validation/)
      expect(await ctr('content', 'ls', '-q')).toBe('')
    })

    test('active lists what is being written', async ({ ctr, start, run }) => {
      const writing = start(['content', 'ingest', '--expected-size', '9000000', 'slow-ref'])
      try {
        // More than any client gathers before it sends.
        writing.child.stdin.write(Buffer.alloc(5_000_000))
        const listed = await until('the ingest to be listed', async () => {
          const printed = await ctr('content', 'active')
          return /slow-ref\t[1-9]/.test(printed) && printed
        })
        expect(listed).toMatch(/^REF\t+SIZE\tAGE\t+\nslow-ref\t[1-9]\S*B\t/)
      } finally {
        writing.child.kill('SIGKILL')
        await writing.result
      }
      const { stdout } = await run(['content', 'active'])
      expect(stdout).toContain('slow-ref')
    })

    test('label sets and removes', async (fixture) => {
      const { ctr } = fixture
      await keep(fixture, bytes)
      const root = { 'containerd.io/gc.root': 'test' }
      expect(labelsOf(await ctr('content', 'label', digest, 'a=b', 'c=d'))).toEqual({ ...root, a: 'b', c: 'd' })
      expect(labelsOf(await ctr('content', 'label', digest, 'a='))).toEqual({ ...root, c: 'd' })
    })

    test('rm removes, and names what it removed', async (fixture) => {
      const { ctr, run } = fixture
      await keep(fixture, bytes)
      expect(await ctr('content', 'rm', digest)).toBe(`${digest}\n`)
      expect(await ctr('content', 'ls', '-q')).toBe('')
      expect(await run(['content', 'rm', absent])).toMatchObject({ code: 0, stdout: '' })
    })

    test('what is not there and what is no digest are refused', async ({ refused }) => {
      expect(await refused('content', 'get', absent)).toBe(`ctr: content digest ${absent}: not found\n`)
      expect(await refused('content', 'get', 'nothing')).toBe('ctr: invalid checksum digest format\n')
    })

    test('a large blob goes in and comes out the same', async (fixture) => {
      const large = Buffer.alloc(20_000_000, 'abcdefghijklm')
      const name = await keep(fixture, large)
      expect(digestOf(Buffer.from(await fixture.ctr('content', 'get', name)))).toBe(name)
    })

    test('fetch gets an image without a name for it', async ({ ctr }) => {
      const { reference, image } = await sharedImage()
      await ctr('content', 'fetch', '--plain-http', reference)
      expect((await ctr('content', 'ls', '-q')).trim().split('\n')).toHaveLength(image.blobs.length)
      expect(await ctr('content', 'get', image.config.digest)).toBe(image.config.bytes.toString())
    })

    test('fetch-object and push-object speak to the registry', async ({ ctr, pull, refused }) => {
      const { reference, image, registry } = await sharedImage()
      expect(await ctr('content', 'fetch-object', '--plain-http', reference)).toBe(image.target.bytes.toString())
      await pull()
      const args = ['content', 'push-object', '--plain-http']
      expect(await refused(...args, reference, image.config.digest, image.config.mediaType)).toBe(
        `ctr: content ${image.config.digest} on remote: already exists\n`,
      )
      const other = `${registry.host}/objects/${version.name}:1`
      await ctr(...args, other, image.config.digest, image.config.mediaType)
      const path = `/v2/objects/${version.name}/blobs/${image.config.digest}`
      expect((await registry.request(path)).body.equals(image.config.bytes)).toBe(true)
    })

    test('prune references tells which labels it would take', async ({ run, pull }) => {
      await pull()
      const { image } = await sharedImage()
      const { code, stderr } = await run(['content', 'prune', 'references', '--dry'])
      expect(code).toBe(0)
      expect(stderr).toContain('dry run')
      for (const label of ['l.0', 'l.1'])
        expect(stderr).toMatch(
          new RegExp(`digest="${image.manifest.digest}" label=containerd.io/gc.ref.content.${label}`),
        )
    })

    test('prune references lets the layers go', async ({ ctr, run, pull }) => {
      const reference = await pull()
      const { image } = await sharedImage()
      await run(['content', 'prune', 'references'])
      const left = (await ctr('content', 'ls', '-q')).trim().split('\n')
      for (const layer of image.layers) expect(left).not.toContain(layer.digest)
      expect(left).toContain(image.config.digest)
      expect(await ctr('run', '--rm', reference, 'still', 'echo', 'runs')).toBe('runs\n')
    })
  },
  { shared: true },
)
