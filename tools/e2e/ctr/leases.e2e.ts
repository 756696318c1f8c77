import { expect } from 'vitest'
import { labelsOf, rowsOf } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'

suite(
  'leases',
  ({ test }) => {
    test('create, list with expiry and labels, remove', async ({ ctr }) => {
      expect(await ctr('leases', 'create', '--id', 'one', '--expires', '1h', 'a=b')).toBe('one\n')
      const printed = await ctr('leases', 'ls')
      expect(printed).toMatch(/^ID +CREATED AT +LABELS *\n/)
      const [id, created, labels] = rowsOf(printed)[0] ?? []
      expect(id).toBe('one')
      expect(created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
      const { 'containerd.io/gc.expire': expire = '', ...rest } = labelsOf(labels ?? '')
      expect(rest).toEqual({ a: 'b' })
      expect(Date.parse(expire) - Date.parse(created ?? '')).toBeLessThanOrEqual(3_601_000)
      expect(Date.parse(expire) - Date.parse(created ?? '')).toBeGreaterThanOrEqual(3_599_000)
      expect(await ctr('leases', 'ls', '-q')).toBe('one\n')
      expect(await ctr('leases', 'rm', 'one')).toBe('one\n')
      expect(await ctr('leases', 'ls', '-q')).toBe('')
    })

    test('an id of its own making', async ({ ctr }) => {
      const id = (await ctr('leases', 'create', '--expires', '0s')).trim()
      expect(id).toMatch(/^\S+$/)
      expect(await ctr('leases', 'ls', '-q')).toBe(`${id}\n`)
    })

    test('a lease that exists, one that does not', async ({ ctr, refused }) => {
      await ctr('leases', 'create', '--id', 'one')
      expect(await refused('leases', 'create', '--id', 'one')).toBe('ctr: lease "one": already exists\n')
      await ctr('leases', 'rm', '--sync', 'one')
      expect(await refused('leases', 'rm', 'one')).toBe('ctr: lease "one": not found\n')
    })

    test('filters', async ({ ctr }) => {
      await ctr('leases', 'create', '--id', 'one', 'colour=blue')
      await ctr('leases', 'create', '--id', 'two', 'colour=red')
      expect(await ctr('leases', 'ls', '-q', 'labels.colour==red')).toBe('two\n')
      expect(await ctr('leases', 'ls', '-q', 'id==one')).toBe('one\n')
    })
  },
  { shared: true },
)
