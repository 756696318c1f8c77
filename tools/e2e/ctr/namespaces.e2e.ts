import { expect } from 'vitest'
import { suite } from '../harness/suite.ts'

suite(
  'namespaces',
  ({ test }) => {
    const own = (namespace: string) => `${namespace}.own`

    test('create, label, list and remove', async ({ ctr, namespace }) => {
      const name = own(namespace)
      expect(await ctr('namespaces', 'create', name, 'colour=blue', 'size=big')).toBe('')
      const listed = await ctr('namespaces', 'ls')
      expect(listed).toMatch(/^NAME +LABELS\s*\n/)
      expect(listed).toMatch(new RegExp(`\n${name} +(colour=blue,size=big|size=big,colour=blue)\\s*\n`))
      expect((await ctr('namespaces', 'ls', '-q')).split('\n')).toContain(name)

      expect(await ctr('namespaces', 'label', name, 'colour=green', 'size=')).toBe('')
      expect(await ctr('namespaces', 'ls')).toMatch(new RegExp(`\n${name} +colour=green\\s*\n`))

      expect(await ctr('namespaces', 'rm', name)).toBe(`${name}\n`)
      expect((await ctr('namespaces', 'ls', '-q')).split('\n')).not.toContain(name)
    })

    test('creating a second time is refused', async ({ ctr, refused, namespace }) => {
      await ctr('namespaces', 'create', own(namespace))
      expect(await refused('namespaces', 'create', own(namespace))).toBe(
        `ctr: namespace "${own(namespace)}": already exists\n`,
      )
      await ctr('namespaces', 'rm', own(namespace))
    })

    test('a namespace that holds something stays', async ({ ctr, run, pull, namespace }) => {
      await pull()
      const { code, stderr } = await run(['namespaces', 'rm', namespace])
      expect(code).toBe(1)
      expect(stderr).toContain(
        `namespace "${namespace}" must be empty, but it still has images, blobs, snapshots on "overlayfs" snapshotter`,
      )
      expect((await ctr('namespaces', 'ls', '-q')).split('\n')).toContain(namespace)
    })

    test('a name that is no identifier is refused', async ({ refused }) => {
      expect(await refused('namespaces', 'create', 'not/good')).toMatch(
        /^ctr: identifier "not\/good" must match .*: invalid argument\n$/,
      )
    })

    test('namespaces do not see each other', async ({ ctr, run, pull, namespace }) => {
      await pull()
      expect(await ctr('images', 'ls', '-q')).not.toBe('')
      const other = await run(['images', 'ls', '-q'], { namespace: own(namespace) })
      expect(other).toEqual({ code: 0, stdout: '', stderr: '' })
    })
  },
  { shared: true },
)
