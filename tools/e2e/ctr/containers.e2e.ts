import { expect } from 'vitest'
import { labelsOf, lastLine, rowsOf } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'

suite(
  'containers',
  ({ test }) => {
    test('create, list, info', async ({ ctr, pull, namespace }) => {
      const reference = await pull()
      expect(await ctr('containers', 'create', '--label', 'a=b', reference, 'one', 'sleep', '100')).toBe('')
      const printed = await ctr('containers', 'ls')
      expect(printed).toMatch(/^CONTAINER +IMAGE +RUNTIME *\n/)
      expect(rowsOf(printed)).toEqual([['one', reference, 'io.containerd.runc.v2']])
      expect(await ctr('containers', 'ls', '-q')).toBe('one\n')
      const info = JSON.parse(await ctr('containers', 'info', 'one'))
      expect(info).toMatchObject({
        ID: 'one',
        // The image's own label came along.
        Labels: { a: 'b', colour: 'blue' },
        Image: reference,
        Runtime: { Name: 'io.containerd.runc.v2', Options: { type_url: 'containerd.runc.v1.Options' } },
        SnapshotKey: 'one',
        Snapshotter: 'overlayfs',
        Spec: { process: { args: ['sleep', '100'], cwd: '/' }, linux: { cgroupsPath: `/${namespace}/one` } },
      })
      expect(Date.parse(info.CreatedAt)).toBe(Date.parse(info.UpdatedAt))
      expect(JSON.parse(await ctr('containers', 'info', '--spec', 'one')).process.args).toEqual(['sleep', '100'])
    })

    test('filters', async ({ ctr, pull }) => {
      const reference = await pull()
      for (const id of ['one', 'two'])
        await ctr('containers', 'create', '--label', `name=${id}`, reference, id, 'sleep', '100')
      expect(await ctr('containers', 'ls', '-q', 'labels.name==two')).toBe('two\n')
      expect(await ctr('containers', 'ls', '-q', 'id~=o')).toBe('one\ntwo\n')
    })

    test('label sets and removes', async ({ ctr, pull }) => {
      await ctr('containers', 'create', await pull(), 'one', 'true')
      expect(labelsOf(await ctr('containers', 'label', 'one', 'x=y'))).toMatchObject({ x: 'y', colour: 'blue' })
      expect(labelsOf(await ctr('containers', 'label', 'one', 'x='))).not.toHaveProperty('x')
      expect(JSON.parse(await ctr('containers', 'info', 'one')).Labels).not.toHaveProperty('x')
    })

    test('remove takes the snapshot along, or leaves it to the collector', async ({ ctr, pull }) => {
      const reference = await pull()
      const active = async () =>
        rowsOf(await ctr('snapshots', 'ls')).flatMap((row) => (row.at(-1) === 'Active' ? [row[0]] : []))
      for (const id of ['one', 'two']) await ctr('containers', 'create', reference, id, 'true')
      expect(await active()).toEqual(['one', 'two'])
      expect(await ctr('containers', 'rm', 'one')).toBe('')
      expect(await ctr('containers', 'rm', '--keep-snapshot', 'two')).toBe('')
      expect(await ctr('containers', 'ls', '-q')).toBe('')
    })

    test('what exists, what does not, what is no id, what runs', async ({ ctr, refused, pull, namespace }) => {
      const reference = await pull()
      const missing = `ctr: container "none" in namespace "${namespace}": not found\n`
      expect(await refused('containers', 'info', 'none')).toBe(missing)
      expect(lastLine(await refused('containers', 'rm', 'none'))).toBe(missing.trim())
      expect(await refused('containers', 'label', 'none', 'a=b')).toBe(missing)
      expect(await refused('containers', 'create', reference, 'bad/id', 'true')).toMatch(
        /^ctr: create container failed validation: container\.ID: identifier "bad\/id" must match .*: invalid argument\n$/,
      )
      await ctr('containers', 'create', reference, 'one', 'true')
      expect(await refused('containers', 'create', reference, 'one', 'true')).toBe(
        'ctr: snapshot "one": already exists\n',
      )
      await ctr('run', '-d', reference, 'running', 'sleep', '100')
      expect(lastLine(await refused('containers', 'rm', 'running'))).toMatch(
        /^ctr: cannot delete a non stopped container: \{running 0 /,
      )
    })

    test('checkpoint of a container that is stopped keeps its files as an image', async ({ ctr, refused, pull }) => {
      const reference = await pull()
      await ctr('run', '-d', reference, 'one', 'sleep', '100')
      await ctr('tasks', 'kill', '-s', 'KILL', 'one')
      await ctr('tasks', 'rm', '--force', 'one')
      // With --rw the container's own files are kept in a layer; without --task no criu is needed.
      await ctr('containers', 'checkpoint', '--rw', '--image', 'one', 'saved/one:1')
      expect(await ctr('images', 'ls', '-q')).toContain('saved/one:1\n')
      // Without a task there is no spec in the image, and ctr finds nothing to restore from.
      expect(await refused('containers', 'restore', '--rw', 'two', 'saved/one:1')).toBe('ctr: media type not found\n')
    })
  },
  { shared: true },
)
