import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { buildImage, generateStack, startFaultyRegistry, type TestImage } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { rowsOf } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'

// What the daemon's own pull makes of layers, which may unpack them beside each other and while they come.

const mebibyte = 1024 * 1024

/** Every name of an image's tree with what it is, times of directories left out. */
async function treeOf({ run, world }: Fixture, namespace: string, reference: string): Promise<string[]> {
  const extras = { namespace }
  const target = world.join(`tree-${namespace}`)
  mkdirSync(target, { recursive: true })
  const mounted = await run(['images', 'mount', reference, target], extras)
  expect(mounted).toMatchObject({ code: 0 })
  try {
    // A directory lists the whiteouts in it, which are not there, when only one layer has it.
    const script = `find . ! -type d -printf '%P %y %m %U:%G %T@ %l\\n' -o -printf '%P %y %m %U:%G\\n' 2>/dev/null
      find . -type f -exec sha256sum {} +`
    const text = execFileSync('bash', ['-c', `(${script}) | sort`], { cwd: target, encoding: 'utf8' })
    return text.trimEnd().split('\n').sort()
  } finally {
    execFileSync('umount', [target])
    await run(['snapshots', 'rm', target], extras)
  }
}

const large = await buildImage({
  scratch: true,
  compression: 'none',
  layers: [
    [{ name: 'below', content: 'below\n' }],
    [
      { name: 'early', content: 'early\n' },
      { name: 'noise', content: randomBytes(6 * mebibyte) },
    ],
    [{ name: 'above', content: 'above\n' }],
  ],
})

function largest({ layers }: TestImage) {
  const found = layers.find(({ size }) => size > mebibyte)
  if (found === undefined) throw new Error('the image has no large layer')
  return found
}

suite(
  'unpacking by the daemon',
  ({ test }) => {
    test('trees are as those that ctr has unpacked layer by layer', async (fixture) => {
      const { namespace, run } = fixture
      await using registry = await startFaultyRegistry()
      const other = `${namespace}-other`
      let compared = 0
      for (let seed = 1001; seed <= 1012; seed++) {
        const image = await buildImage({ scratch: true, layers: generateStack(seed) })
        const reference = registry.add(`stack/seed:${seed}`, image)
        const pull = ['images', 'pull', '--plain-http']
        const byDaemon = await run([...pull, reference])
        const byClient = await run([...pull, '--local', reference], { namespace: other })
        // Some stacks contradict themselves.
        expect(byDaemon.code, `seed ${seed}: ${byDaemon.stderr}`).toBe(byClient.code)
        if (byClient.code !== 0) continue
        expect(await treeOf(fixture, namespace, reference), `seed ${seed}`).toEqual(
          await treeOf(fixture, other, reference),
        )
        await run(['images', 'rm', '--sync', reference], { namespace: other })
        compared++
      }
      expect(compared).toBeGreaterThan(3)
      await run(['namespaces', 'rm', other])
    }, 300_000)

    test('a large layer of other bytes than its digest says leaves no snapshot, and works once it is mended', async ({
      ctr,
      refused,
    }) => {
      await using registry = await startFaultyRegistry()
      const reference = registry.add('large/layer:1', large)
      const layer = largest(large)
      // The tar is whole and unpacks: only the last byte of a file's content is another.
      const bytes = Buffer.from(layer.bytes)
      const last = bytes.length - 1024 - 512
      bytes[last] = (bytes[last] ?? 0) ^ 1
      const mend = registry.fault({ path: new RegExp(layer.digest), fault: { kind: 'other', bytes } })
      expect(await refused('images', 'pull', '--plain-http', reference)).toMatch(/unexpected commit digest/)
      // The layer below is right, and may have come to a snapshot before.
      const names = rowsOf(await ctr('snapshots', 'ls')).map(([name]) => name)
      expect(names.filter((name) => name !== large.layers[0]?.diffId)).toEqual([])
      mend()
      await ctr('images', 'pull', '--plain-http', reference)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(4\/4\) .* true$/)
      expect(rowsOf(await ctr('snapshots', 'ls')).map((row) => row.at(-1))).toEqual(large.layers.map(() => 'Committed'))
    })

    test('layers are unpacked upon a snapshot that another image has left', async (fixture) => {
      const { ctr } = fixture
      await using registry = await startFaultyRegistry()
      const base = [
        { name: 'd/', type: 'directory', mode: 0o711, uid: 1000, gid: 1000 },
        { name: 'd/gone', content: 'gone\n' },
      ] as const
      const one = await buildImage({ scratch: true, layers: [base] })
      const two = await buildImage({
        scratch: true,
        layers: [base, [{ name: 'd/.wh.gone', content: '' }], [{ name: 'd/new', content: 'new\n' }]],
      })
      await ctr('images', 'pull', '--plain-http', registry.add('base/one:1', one))
      const reference = registry.add('base/two:1', two)
      await ctr('images', 'pull', '--plain-http', reference)
      expect(await treeOf(fixture, fixture.namespace, reference)).toEqual([
        ' d 755 0:0',
        expect.stringMatching(/^\w{64} {2}\.\/d\/new$/),
        'd d 711 1000:1000',
        expect.stringMatching(/^d\/new f 644 0:0 /),
      ])
    })
  },
  { versions: ['2.1'] },
)
